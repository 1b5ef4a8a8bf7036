//! When to try again: one policy for targets and models alike.

use std::time::Duration;

use crate::model::Failure;

/// Exponential backoff with full jitter, led by the server's own wish where it states one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Most attempts of one call, the first included.
    pub max_attempts: u32,
    /// Upper bound of the wait before the second attempt; doubles from there.
    pub base: Duration,
    /// Greatest wait that is not asked for by the server.
    pub cap: Duration,
    /// Time limit of one attempt.
    pub attempt_timeout: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            base: Duration::from_millis(500),
            cap: Duration::from_secs(30),
            attempt_timeout: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// The wait before the attempt after `attempt` (from 1), or `None` when there should be none.
    ///
    /// `jitter` is a uniform draw from [0, 1). The server's wish is a floor, with jitter on top, so that many
    /// callers told "one second" do not come back together.
    pub fn delay(&self, attempt: u32, failure: &Failure, jitter: f64) -> Option<Duration> {
        if attempt >= self.max_attempts || !failure.kind.is_transient() || failure.unsafe_to_repeat {
            return None;
        }
        let doublings = attempt.saturating_sub(1).min(20);
        let bound = self.base.saturating_mul(1 << doublings).min(self.cap);
        let wait = bound.mul_f64(jitter.clamp(0.0, 1.0));
        match failure.retry_after_ms {
            Some(asked) => Some(Duration::from_millis(asked).saturating_add(wait.min(self.base))),
            None => Some(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FailureKind;

    #[test]
    fn waits_double_up_to_the_cap_and_stop_at_the_last_attempt() {
        let policy = RetryPolicy { max_attempts: 4, cap: Duration::from_millis(1500), ..RetryPolicy::default() };
        let failure = Failure::new(FailureKind::Server, "500");
        let waits: Vec<_> = (1..=4).map(|attempt| policy.delay(attempt, &failure, 1.0)).collect();
        let ms = |n| Some(Duration::from_millis(n));
        assert_eq!(waits, [ms(500), ms(1000), ms(1500), None]);
    }

    #[test]
    fn the_servers_wish_is_a_floor() {
        let failure = Failure::new(FailureKind::RateLimited, "429").retry_after_ms(Some(7000));
        let wait = RetryPolicy::default().delay(1, &failure, 0.0);
        assert_eq!(wait, Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_wrong_key_is_not_tried_again() {
        let failure = Failure::new(FailureKind::Auth, "401");
        assert_eq!(RetryPolicy::default().delay(1, &failure, 0.5), None);
    }
}
