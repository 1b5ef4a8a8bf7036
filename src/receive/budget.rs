//! How many bytes of requests may be in memory at once. Knows no transport.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that requests in flight may take together; clones share them.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Semaphore>);

/// The budget is used up: the sender shall come again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UsedUp;

/// What one request has taken of the budget; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Budget,
    taken: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.min(Semaphore::MAX_PERMITS))))
    }

    /// A share of nothing yet.
    pub(super) fn share(&self) -> Share {
        Share { budget: self.clone(), taken: None }
    }
}

impl Share {
    /// Takes more; what was taken before stays taken when there is not enough.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), UsedUp> {
        let wanted = u32::try_from(bytes).map_err(|_| UsedUp)?;
        let more = Arc::clone(&self.budget.0).try_acquire_many_owned(wanted).map_err(|_| UsedUp)?;
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        Ok(())
    }

    /// Bytes taken.
    pub(super) fn bytes(&self) -> usize {
        self.taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_take_more_than_the_budget_and_give_it_back() {
        let budget = Budget::new(100);
        let (mut one, mut two) = (budget.share(), budget.share());
        assert_eq!((one.grow(60), one.grow(10), two.grow(31)), (Ok(()), Ok(()), Err(UsedUp)));
        assert_eq!((one.bytes(), two.bytes()), (70, 0));
        assert_eq!(two.grow(usize::MAX), Err(UsedUp));
        drop(one);
        assert_eq!((two.grow(100), two.bytes()), (Ok(()), 100));
    }
}
