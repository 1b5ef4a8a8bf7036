//! Choosing what differs most: farthest-first traversal, the greedy answer to k-center (Gonzalez 1985).
//!
//! The next one is always the one farthest from all chosen before. It covers rare kinds of input with few examples and
//! is no probability sample: nobody has a chance that could be turned into a weight.

/// What one candidate is compared by.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    /// A MinHash signature: distance is the share of differing entries, one minus the estimated Jaccard similarity.
    Signature(Vec<u64>),
    /// An embedding: distance is one minus the cosine.
    Vector(Vec<f32>),
}

impl Place {
    fn distance(&self, other: &Self) -> f64 {
        match (self, other) {
            (Self::Signature(left), Self::Signature(right)) => {
                let differing = left.iter().zip(right).filter(|(left, right)| left != right).count();
                differing as f64 / left.len().max(1) as f64
            }
            (Self::Vector(left), Self::Vector(right)) => {
                let dot = |left: &[f32], right: &[f32]| -> f64 {
                    left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum()
                };
                let norm = (dot(left, left) * dot(right, right)).sqrt();
                if norm > 0.0 { 1.0 - dot(left, right) / norm } else { 1.0 }
            }
            _ => 1.0,
        }
    }
}

/// Chooses `n` places. The first is that of the least hash; where several are equally far, the least hash wins, so that
/// the order of the places does not matter.
pub(super) fn farthest(places: &[Place], hashes: &[u64], n: usize) -> Vec<usize> {
    let hash = |index: usize| hashes.get(index).copied().unwrap_or_default();
    let mut chosen = Vec::new();
    let mut nearest = vec![f64::INFINITY; places.len()];
    let mut taken = vec![false; places.len()];
    while chosen.len() < n.min(places.len()) {
        let open = (0..places.len()).filter(|index| taken.get(*index) == Some(&false));
        let far = |index: &usize| nearest.get(*index).copied().unwrap_or_default();
        let next =
            open.max_by(|left, right| far(left).total_cmp(&far(right)).then_with(|| hash(*right).cmp(&hash(*left))));
        let Some(next) = next else { break };
        chosen.push(next);
        if let Some(taken) = taken.get_mut(next) {
            *taken = true;
        }
        let Some(place) = places.get(next) else { break };
        for (nearest, other) in nearest.iter_mut().zip(places) {
            *nearest = nearest.min(place.distance(other));
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_far_corner_is_reached_before_a_second_of_the_same() {
        let at = |x: f32, y: f32| Place::Vector(vec![x, y]);
        let places = [at(1.0, 0.0), at(0.99, 0.01), at(0.98, 0.02), at(0.0, 1.0), at(-1.0, 0.0), at(-0.99, 0.01)];
        let chosen = farthest(&places, &[3, 1, 2, 9, 8, 7], 3);
        assert_eq!(chosen[0], 1, "the least hash is first");
        let corner = |index: usize| match &places[index] {
            Place::Vector(v) => (v[0].round() as i32, v[1].round() as i32),
            Place::Signature(_) => (0, 0),
        };
        let mut corners: Vec<_> = chosen.iter().map(|index| corner(*index)).collect();
        corners.sort_unstable();
        assert_eq!(corners, [(-1, 0), (0, 1), (1, 0)]);
        assert_eq!(farthest(&places, &[0; 6], 99).len(), 6);
        assert!(farthest(&[], &[], 3).is_empty());
    }

    #[test]
    fn signatures_differ_by_their_entries() {
        let of = |values: [u64; 4]| Place::Signature(values.to_vec());
        assert_eq!(of([1, 2, 3, 4]).distance(&of([1, 2, 9, 9])), 0.5);
        assert_eq!(of([1, 2, 3, 4]).distance(&of([1, 2, 3, 4])), 0.0);
    }
}
