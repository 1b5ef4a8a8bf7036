//! A sorted map of a few entries in one piece of memory: trials of an example, graders of a trial, draws of a grader.
//!
//! A tree keeps room for eleven entries in each node; most of these maps hold one, and there are millions. Work of an
//! insertion grows with the entries: not for maps that grow large.

use std::borrow::Borrow;

/// Entries in the order of their keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Few<K, V>(Vec<(K, V)>);

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Few<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut few = Self::default();
        entries.into_iter().for_each(|(key, value)| few.insert(key, value));
        few
    }
}

impl<K: Ord, V> Few<K, V> {
    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(self.place(key).ok()?).map(|(_, value)| value)
    }

    /// The value of a key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let place = self.place(key).ok()?;
        self.0.get_mut(place).map(|(_, value)| value)
    }

    /// Sets the value of a key.
    pub fn insert(&mut self, key: K, value: V) {
        match self.place(&key) {
            Ok(place) => {
                if let Some(entry) = self.0.get_mut(place) {
                    entry.1 = value;
                }
            }
            Err(place) => self.put(place, key, value),
        }
    }

    /// The value of a key; a default one is put there if there is none.
    pub fn or_default(&mut self, key: impl Into<K>) -> &mut V
    where
        V: Default,
    {
        let key = key.into();
        let place = match self.place(&key) {
            Ok(place) => place,
            Err(place) => {
                self.put(place, key, V::default());
                place
            }
        };
        &mut self.0[place].1
    }

    /// Keys and values in the order of the keys.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + Clone {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Values in the order of the keys.
    pub fn values(&self) -> impl DoubleEndedIterator<Item = &V> + Clone {
        self.0.iter().map(|(_, value)| value)
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes all entries out.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        // What comes in order goes to the end, and a map of one entry needs no search.
        match self.0.last().map(|(last, _)| last.borrow().cmp(key)) {
            None | Some(std::cmp::Ordering::Less) => Err(self.0.len()),
            Some(std::cmp::Ordering::Equal) => Ok(self.0.len() - 1),
            Some(std::cmp::Ordering::Greater) => self.0.binary_search_by(|(held, _)| held.borrow().cmp(key)),
        }
    }

    fn put(&mut self, place: usize, key: K, value: V) {
        if self.0.is_empty() {
            self.0.reserve_exact(1);
        }
        self.0.insert(place, (key, value));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_sorted_map(entries in proptest::collection::vec((0u8..20, any::<u16>()), 0..40), asked in 0u8..20) {
            let (mut few, mut tree) = (Few::default(), BTreeMap::new());
            for (place, (key, value)) in entries.into_iter().enumerate() {
                if place % 2 == 0 {
                    few.insert(key, value);
                } else {
                    *few.or_default(key) = value;
                }
                tree.insert(key, value);
            }
            prop_assert_eq!(few.get(&asked), tree.get(&asked));
            prop_assert_eq!(few.get_mut(&asked), tree.get_mut(&asked));
            prop_assert_eq!((few.len(), few.is_empty()), (tree.len(), tree.is_empty()));
            prop_assert_eq!(few.iter().collect::<Vec<_>>(), tree.iter().collect::<Vec<_>>());
            prop_assert_eq!(few.values().collect::<Vec<_>>(), tree.values().collect::<Vec<_>>());
        }
    }
}
