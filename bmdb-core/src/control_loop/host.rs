//! Host check: a loop whose host cannot process machines claims one at a time, with growing delays, so that
//! other hosts get them.

use super::event::Outcome;
use crate::db::retry::Delays;
use std::time::Duration;

/// Delays after failures of the host.
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(300);

/// After so many failures in a row the log warns, and a loop that ends by itself gives up.
pub(super) const FEW: u32 = 3;

/// How long an attempt runs without a failure of the host until the host counts as working. The attempt
/// itself may take hours.
pub(super) const TRIAL: Duration = Duration::from_secs(5);

/// What is known about the host.
#[derive(Debug)]
pub(super) struct HostHealth {
    /// How many attempts have failed because of the host since one has ended well.
    failures: u32,
    /// Whether the host is tried by one attempt at a time.
    is_doubtful: bool,
    /// The cause of the last one.
    cause: String,
    /// Whether the loop has not waited for the last one yet.
    is_due: bool,
    delays: Delays,
    /// Whether an attempt runs that shows whether the host works again.
    on_trial: bool,
}

/// Why the loop waits, and for how long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HostWait {
    pub(super) cause: String,
    pub(super) failures: u32,
    pub(super) delay: Duration,
}

impl HostHealth {
    pub(super) fn new() -> Self {
        Self {
            failures: 0,
            is_doubtful: false,
            cause: String::new(),
            is_due: false,
            delays: Delays::new(FIRST_DELAY, LONGEST_DELAY),
            on_trial: false,
        }
    }

    /// Notes how an attempt has ended. Canceled and lost ones say nothing about the host.
    pub(super) fn note(&mut self, outcome: &Outcome) {
        self.on_trial = false;
        match outcome {
            Outcome::HostFailed { cause } => {
                self.failures = self.failures.saturating_add(1);
                self.is_doubtful = true;
                self.cause.clone_from(cause);
                self.is_due = true;
            }
            Outcome::Finished { .. }
            | Outcome::Failed { .. }
            | Outcome::Snoozed { .. }
            | Outcome::ProviderPaused { .. } => {
                self.recovered();
                self.failures = 0;
                self.delays.restart();
            }
            Outcome::Canceled | Outcome::Lost | Outcome::Unrecorded { .. } => {}
        }
    }

    /// Notes that an attempt has run for [`TRIAL`]. The delays go on growing, and failures are counted on, until
    /// one has ended well.
    pub(super) fn recovered(&mut self) {
        self.is_doubtful = false;
        self.is_due = false;
        self.on_trial = false;
    }

    /// Notes that an attempt starts.
    pub(super) fn started(&mut self) {
        self.on_trial = self.is_doubtful();
    }

    /// Whether the last attempt failed because of the host.
    pub(super) const fn is_doubtful(&self) -> bool {
        self.is_doubtful
    }

    /// Whether an attempt runs that shows whether the host works again.
    pub(super) const fn is_on_trial(&self) -> bool {
        self.on_trial
    }

    /// The cause of the last attempt, if it failed because of the host.
    pub(super) fn doubt(&self) -> Option<&str> {
        self.is_doubtful().then_some(&self.cause)
    }

    /// Whether the loop has to wait before it claims again.
    pub(super) const fn has_to_wait(&self) -> bool {
        self.is_due
    }

    /// What the loop has to wait for before it claims again.
    pub(super) fn wait(&mut self) -> Option<HostWait> {
        if !std::mem::replace(&mut self.is_due, false) {
            return None;
        }
        Some(HostWait {
            cause: self.cause.clone(),
            failures: self.failures,
            delay: self.delays.next(),
        })
    }

    /// Notes that the loop has waited, also for failures of attempts that were under way meanwhile.
    pub(super) fn waited(&mut self) {
        self.is_due = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_failed() -> Outcome {
        Outcome::HostFailed {
            cause: "no shell".to_owned(),
        }
    }

    #[test]
    fn the_delays_double_while_the_host_fails_and_a_success_ends_them() {
        let mut host = HostHealth::new();
        assert_eq!(host.wait(), None);
        let mut whole = FIRST_DELAY;
        for failures in 1..20 {
            host.note(&host_failed());
            let wait = host.wait().unwrap();
            assert_eq!((wait.failures, wait.cause.as_str()), (failures, "no shell"));
            assert!((whole / 10..=whole).contains(&wait.delay), "{wait:?}");
            assert_eq!(host.wait(), None, "it waits once for each failure");
            whole = (whole * 2).min(LONGEST_DELAY);
        }
        host.note(&Outcome::Finished { rest: None });
        assert!(!host.is_doubtful());
        host.note(&host_failed());
        assert!(host.wait().unwrap().delay <= FIRST_DELAY);
    }

    #[test]
    fn attempts_that_fail_while_the_loop_waits_are_waited_for_once() {
        let mut host = HostHealth::new();
        host.note(&host_failed());
        assert!(host.wait().is_some());
        for _ in 0..7 {
            host.note(&host_failed());
        }
        host.waited();
        assert_eq!(host.wait(), None);
        assert!(host.is_doubtful());
    }

    #[test]
    fn one_attempt_at_a_time_tries_a_host_that_failed() {
        let mut host = HostHealth::new();
        host.started();
        assert!(!host.is_on_trial());
        host.note(&host_failed());
        host.started();
        assert!(host.is_on_trial());
        host.note(&Outcome::Canceled);
        assert!(host.is_doubtful() && !host.is_on_trial());
        host.started();
        host.recovered();
        assert!(!host.is_doubtful() && !host.is_on_trial());
    }

    // Its attempts run for longer than a trial before they fail, so each of them seemed to be the first.
    #[test]
    fn the_failures_of_a_host_that_fails_slowly_are_counted_on() {
        let mut host = HostHealth::new();
        for failures in 1..=FEW {
            host.started();
            host.recovered();
            host.note(&host_failed());
            assert_eq!(host.wait().unwrap().failures, failures);
        }
    }
}
