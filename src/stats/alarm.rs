//! From breaches to an incident: fires on several of the last, clears after enough that are fine, tells once.
//!
//! Knows nothing of what was measured; conditions are `alert`'s. A step without a known answer changes nothing.

use std::collections::VecDeque;

/// How steady a breach must be, and how often it may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// Breaches among the last `of` known steps that fire.
    pub fire: usize,
    /// Known steps that are looked at; at least `fire`.
    pub of: usize,
    /// Known steps in a row without a breach that clear.
    pub clear: usize,
    /// Steps that must pass between two notifications.
    pub cooldown: usize,
}

/// Unknown steps in a row after which an alarm says that it is blind.
pub const STALE_AFTER: usize = 3;

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It began.
    Fire,
    /// It is over; only told where the beginning was.
    Resolve,
}

/// One alarm over time.
#[derive(Clone, Debug)]
pub struct Alarm {
    rhythm: Rhythm,
    step: usize,
    recent: VecDeque<bool>,
    calm: usize,
    unknown: usize,
    firing: bool,
    notified: bool,
    last_told: Option<usize>,
}

impl Alarm {
    /// An alarm that is quiet.
    pub fn new(rhythm: Rhythm) -> Self {
        Self {
            rhythm,
            step: 0,
            recent: VecDeque::new(),
            calm: 0,
            unknown: 0,
            firing: false,
            notified: false,
            last_told: None,
        }
    }

    /// Takes the next step, `None` where it is unknown; gives what must be told.
    pub fn push(&mut self, breach: Option<bool>) -> Option<Told> {
        let step = self.step;
        self.step += 1;
        let Some(breach) = breach else {
            self.unknown += 1;
            return None;
        };
        self.unknown = 0;
        self.recent.push_back(breach);
        if self.recent.len() > self.rhythm.of {
            self.recent.pop_front();
        }
        self.calm = if breach { 0 } else { self.calm + 1 };
        let breaches = self.recent.iter().filter(|breach| **breach).count();
        if !self.firing && self.rhythm.fire > 0 && breaches >= self.rhythm.fire {
            self.firing = true;
            self.calm = 0;
            self.notified = self.last_told.is_none_or(|last| step - last >= self.rhythm.cooldown);
            if self.notified {
                self.last_told = Some(step);
                return Some(Told::Fire);
            }
        } else if self.firing && self.calm >= self.rhythm.clear {
            self.firing = false;
            return std::mem::take(&mut self.notified).then_some(Told::Resolve);
        }
        None
    }

    /// Whether it fires.
    pub fn is_firing(&self) -> bool {
        self.firing
    }

    /// Whether it has been blind for [`STALE_AFTER`] steps.
    pub fn is_stale(&self) -> bool {
        self.unknown >= STALE_AFTER
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_resolve_follows_its_fire_and_unknown_changes_nothing(
            steps in prop::collection::vec(prop::option::of(any::<bool>()), 0..60),
            fire in 1..4_usize, more in 0..3_usize, clear in 1..4_usize, cooldown in 0..9_usize,
        ) {
            let rhythm = Rhythm { fire, of: fire + more, clear, cooldown };
            let (mut alarm, mut open, mut last) = (Alarm::new(rhythm), false, None);
            for (step, breach) in steps.iter().enumerate() {
                let before = alarm.is_firing();
                match alarm.push(*breach) {
                    Some(Told::Fire) => {
                        prop_assert!(!open && alarm.is_firing());
                        prop_assert!(last.is_none_or(|last| step - last >= cooldown));
                        (open, last) = (true, Some(step));
                    }
                    Some(Told::Resolve) => {
                        prop_assert!(open && !alarm.is_firing());
                        open = false;
                    }
                    None => {}
                }
                prop_assert!(breach.is_some() || before == alarm.is_firing());
            }
        }
    }

    #[test]
    fn a_blind_alarm_says_so() {
        let mut alarm = Alarm::new(Rhythm { fire: 1, of: 1, clear: 1, cooldown: 0 });
        assert_eq!(alarm.push(Some(true)), Some(Told::Fire));
        for _ in 0..STALE_AFTER {
            assert_eq!(alarm.push(None), None);
        }
        assert!(alarm.is_stale() && alarm.is_firing());
        assert_eq!(alarm.push(Some(false)), Some(Told::Resolve));
        assert!(!alarm.is_stale());
    }
}
