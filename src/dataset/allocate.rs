//! How a fixed number of examples is shared among strata of known size.
//!
//! Knows sizes and spreads, not individuals; `select` draws them.

use std::collections::BTreeMap;

/// Shares by size with largest remainders; each stratum gets one first while `n` allows it, because a stratum
/// without a single member cannot be estimated and would bias every projection.
pub(super) fn proportional(n: u64, populations: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let total: u128 = populations.values().map(|size| u128::from(*size)).sum();
    let n = u128::from(n).min(total);
    let floor = u128::from(n >= populations.len() as u128);
    let mut left = n;
    let mut shares: Vec<(u128, &String, u128)> = Vec::new();
    for (name, size) in populations {
        let exact = n * u128::from(*size);
        let share = (exact / total.max(1)).max(floor.min(u128::from(*size)));
        left = left.saturating_sub(share);
        shares.push((exact % total.max(1), name, share));
    }
    // The minimum of one may have given out more than there is: the largest strata give back.
    let mut given: u128 = shares.iter().map(|(_, _, share)| share).sum();
    while given > n {
        if let Some(largest) = shares.iter_mut().max_by(|a, b| a.2.cmp(&b.2).then_with(|| b.1.cmp(a.1))) {
            largest.2 -= 1;
        }
        given -= 1;
    }
    shares.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    while left > 0 {
        let before = left;
        for (_, name, share) in &mut shares {
            let size = populations.get(*name).map_or(0, |size| u128::from(*size));
            if left > 0 && *share < size {
                *share += 1;
                left -= 1;
            }
        }
        if left == before {
            break;
        }
    }
    shares.into_iter().map(|(_, name, share)| (name.clone(), u64::try_from(share).unwrap_or(u64::MAX))).collect()
}

/// The same share each; small strata are taken whole and what they leave goes to the others.
pub(super) fn equal(n: u64, populations: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut by_size: Vec<(&String, u64)> = populations.iter().map(|(name, size)| (name, *size)).collect();
    by_size.sort_by(|a, b| a.1.cmp(&b.1).then_with(|| a.0.cmp(b.0)));
    let mut left = n;
    let mut open = by_size.len() as u64;
    let mut shares = BTreeMap::new();
    for (name, size) in by_size {
        let share = (left / open.max(1)).min(size);
        shares.insert(name.clone(), share);
        left -= share;
        open = open.saturating_sub(1);
    }
    shares
}

/// Neyman's shares: by size times spread, which makes the variance of the mean least for `n`. Every stratum gets two
/// first while `n` and its size allow it, since the spread of a single example cannot be told; no stratum gets more
/// than it holds, and what it cannot take goes to the others by the same rule.
///
/// A stratum without a known spread counts with the mean of the others; without any spread at all shares go by size.
pub(super) fn neyman(
    n: u64,
    populations: &BTreeMap<String, u64>,
    spreads: &BTreeMap<String, f64>,
) -> BTreeMap<String, u64> {
    let known: Vec<f64> = populations.keys().filter_map(|name| spreads.get(name).copied()).collect();
    let typical = if known.is_empty() { 0.0 } else { known.iter().sum::<f64>() / known.len() as f64 };
    let mass = |name: &str, size: u64| size as f64 * spreads.get(name).copied().unwrap_or(typical);
    if populations.iter().all(|(name, size)| mass(name, *size) <= 0.0) {
        return proportional(n, populations);
    }
    let total: u64 = populations.values().sum();
    let n = n.min(total);
    let least = [2, 1, 0].into_iter().find(|least| populations.values().map(|size| size.min(least)).sum::<u64>() <= n);
    let least = least.unwrap_or(0);
    let mut shares: BTreeMap<String, u64> =
        populations.iter().map(|(name, size)| (name.clone(), (*size).min(least))).collect();
    let mut left = n - shares.values().sum::<u64>();
    // One at a time by greatest priority (Wright 2012): exact for whole numbers, and never above the size.
    let priority = |name: &str, size: u64, share: u64| {
        let place = share as f64;
        mass(name, size) / (place * (place + 1.0)).max(0.5).sqrt()
    };
    while left > 0 {
        let open = populations.iter().filter(|(name, size)| shares.get(*name).is_some_and(|share| share < *size));
        let best = open
            .map(|(name, size)| (priority(name, *size, shares.get(name).copied().unwrap_or(0)), name))
            .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)));
        let Some((_, name)) = best else { break };
        if let Some(share) = shares.get_mut(name) {
            *share += 1;
        }
        left -= 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sizes(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        pairs.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect()
    }

    #[test]
    fn shares_follow_size_and_keep_the_rare() {
        let shares = proportional(10, &sizes(&[("common", 990), ("rare", 10)]));
        assert_eq!((shares["common"], shares["rare"]), (9, 1));
        assert_eq!(proportional(1, &sizes(&[("a", 5), ("b", 6)])).values().sum::<u64>(), 1);
        let shares = equal(10, &sizes(&[("a", 2), ("b", 100), ("c", 100)]));
        assert_eq!((shares["a"], shares["b"], shares["c"]), (2, 4, 4));
    }

    #[test]
    fn neyman_gives_to_the_large_and_the_varied() {
        let of = |pairs: &[(&str, f64)]| pairs.iter().map(|(name, spread)| ((*name).to_owned(), *spread)).collect();
        let populations = sizes(&[("calm", 900), ("wild", 100)]);
        let shares = neyman(100, &populations, &of(&[("calm", 1.0), ("wild", 9.0)]));
        assert_eq!((shares["calm"], shares["wild"]), (50, 50));
        let shares = neyman(200, &populations, &of(&[("calm", 1.0), ("wild", 90.0)]));
        assert_eq!((shares["calm"], shares["wild"]), (100, 100), "a small stratum is taken whole");
        let shares = neyman(10, &populations, &of(&[("calm", 1.0), ("wild", 0.0)]));
        assert_eq!((shares["calm"], shares["wild"]), (8, 2), "two of a stratum that seems to have no spread");
        assert_eq!(neyman(10, &populations, &BTreeMap::new()), proportional(10, &populations));
    }

    proptest! {
        #[test]
        fn shares_add_up_and_fit(
            sizes in proptest::collection::btree_map("[a-f]{1,2}", 1_u64..500, 1..12), n in 1_u64..3_000,
            spreads in proptest::collection::btree_map("[a-f]{1,2}", 0.0..9.0_f64, 0..12),
        ) {
            let total: u64 = sizes.values().sum();
            for shares in [proportional(n, &sizes), equal(n, &sizes), neyman(n, &sizes, &spreads)] {
                prop_assert_eq!(shares.values().sum::<u64>(), n.min(total));
                for (name, share) in &shares {
                    prop_assert!(*share <= sizes[name]);
                    prop_assert!(*share > 0 || n < sizes.len() as u64);
                }
            }
        }
    }
}
