//! Failure: why a machine could not be processed, and what happens to it.

use crate::error::with_sources;
use bmdb_backoff::Backoff;
use bmdb_model::column::Column;
use std::error::Error;
use std::time::Duration;

/// Why a machine could not be processed. `?` converts every error, with its sources, and every text.
///
/// It is not an error itself, so that all errors can be converted into it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a failure that is not returned is not recorded"]
pub struct Failure {
    cause: String,
    backoff: Option<Backoff>,
    effect: Effect,
}

/// What a failure does to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    BackOff,
    /// It backs off, and is put on hold.
    Hold,
    /// It backs off, and only this process is put on hold there.
    HoldProcess,
    /// Nothing: the attempt is canceled.
    Cancel,
    /// It rests: the attempt is canceled.
    Snooze(Duration),
    /// The attempt is canceled, and the process paused for the provider.
    PauseProvider(Duration),
    /// The attempt is canceled, and the loop waits.
    Host,
}

impl Failure {
    /// The machine is backing off for the next interval of the loop's backoff. `cause` is for people; up
    /// to 8 KiB of it are recorded.
    pub fn new(cause: impl Into<String>) -> Self {
        Self::with(cause.into(), Effect::BackOff)
    }

    /// The machine needs an operator: it is put on hold, with this cause as reason, in the transaction
    /// that records the failure. No process starts on it until an operator releases it.
    pub fn hold(cause: impl Into<String>) -> Self {
        Self::with(cause.into(), Effect::Hold)
    }

    /// Only this process must not start on the machine any more: it is put on hold there, with this cause as
    /// reason, in the transaction that records the failure. Other processes start as before. An operator
    /// releases it: `bmdb machine release MACHINE --process PROCESS`.
    pub fn hold_process(cause: impl Into<String>) -> Self {
        Self::with(cause.into(), Effect::HoldProcess)
    }

    /// Not now: the machine rests for this long, whatever the loop's backoff is. The attempt is recorded as
    /// canceled, and no backoff begins or grows.
    ///
    /// Zero is [`Failure::cancel`]. Fractions of a millisecond are rounded up; more than ten years are ten
    /// years.
    pub fn snooze(rest: Duration) -> Self {
        match rest.is_zero() {
            true => Self::cancel(),
            false => Self::with("snoozed".to_owned(), Effect::Snooze(rest)),
        }
    }

    /// The provider does not want more requests now, such as with HTTP's 429: the process starts on none of
    /// its machines for this long. The pause has the cause as its reason, and is seen and ended like an
    /// operator's; one that an operator or a breaker has made stays as it is. The attempt is recorded as
    /// canceled, and no machine backs off.
    ///
    /// Attempts that run go on. A machine without a provider rests alone, as with [`Failure::snooze`]. Zero is
    /// [`Failure::cancel`]; more than ten years are ten years.
    pub fn pause_provider(time: Duration, cause: impl Into<String>) -> Self {
        match time.is_zero() {
            true => Self::cancel(),
            false => Self::with(cause.into(), Effect::PauseProvider(time)),
        }
    }

    /// The attempt is recorded as canceled, and no backoff begins or grows.
    ///
    /// The machine is given back at once, and rests for
    /// [`LoopOptions::cancel_pause`](super::LoopOptions::cancel_pause), or it would be claimed again at
    /// once; not when the loop shuts down.
    pub fn cancel() -> Self {
        Self::with("canceled".to_owned(), Effect::Cancel)
    }

    /// The fault of the host, the computer that this loop runs on, and not of the machine: a program or a
    /// secret is missing, no process can be started, the disk is full. Nothing was done to the machine.
    ///
    /// The machine is given back at once and without a rest, so that another host can take it. The attempt is
    /// recorded as canceled. This loop waits before it claims again, from half a second to 5 minutes, twice as
    /// long each time, and then tries one machine: [`Event::HostFailing`](super::Event::HostFailing). An
    /// attempt that ends otherwise, or that runs for 5 s, ends that. With
    /// [`LoopOptions::once`](super::LoopOptions::once) the loop gives up after three in a row:
    /// [`LoopError::HostFails`](super::LoopError::HostFails).
    pub fn host(cause: impl Into<String>) -> Self {
        Self::with(cause.into(), Effect::Host)
    }

    /// The same with this backoff instead of the loop's.
    pub fn backoff(self, backoff: Backoff) -> Self {
        Self {
            backoff: Some(backoff),
            ..self
        }
    }

    /// The cause, for people.
    #[must_use]
    pub fn cause(&self) -> &str {
        &self.cause
    }

    pub(super) fn own_backoff(&self) -> Option<&Backoff> {
        self.backoff.as_ref()
    }

    pub(super) const fn effect(&self) -> Effect {
        self.effect
    }

    /// As the database records it, so that no error or event shows more.
    fn with(cause: String, effect: Effect) -> Self {
        Self {
            cause: Column::CAUSE.recorded_reason(&cause).into_owned(),
            backoff: None,
            effect,
        }
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(with_sources(&*error.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the call failed")]
    struct Call(#[source] std::io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("no power: {0}")]
    struct Power(#[source] Call);

    #[test]
    fn the_cause_has_an_error_and_its_sources_each_once() {
        let refused = || std::io::Error::other("connection refused");
        let failure = Failure::from(Power(Call(refused())));
        assert_eq!(
            failure.cause(),
            "no power: the call failed: connection refused"
        );
        assert_eq!(failure.effect, Effect::BackOff);
    }

    #[test]
    fn a_question_mark_converts_every_text_and_every_error() {
        let fails = |which: u8| -> Result<(), Failure> {
            match which {
                0 => Err("a text")?,
                1 => Err("a string".to_owned())?,
                2 => Err("12x".parse::<u8>().unwrap_err())?,
                _ => Err(Box::<dyn Error + Send + Sync>::from("boxed"))?,
            }
            Ok(())
        };
        let causes: Vec<String> = (0..4)
            .map(|which| fails(which).unwrap_err().cause().to_owned())
            .collect();
        assert_eq!(
            causes,
            [
                "a text",
                "a string",
                "invalid digit found in string",
                "boxed"
            ]
        );
    }

    #[test]
    fn nothing_is_snoozed_or_paused_for_no_time() {
        assert_eq!(Failure::snooze(Duration::ZERO), Failure::cancel());
        let pause = |time| Failure::pause_provider(time, "429");
        assert_eq!(pause(Duration::ZERO), Failure::cancel());
        let long = Duration::MAX;
        assert_eq!(pause(long).effect, Effect::PauseProvider(long));
    }

    #[test]
    fn the_database_accepts_every_cause() {
        assert_eq!(Failure::new("").cause(), "no reason given");
        assert_eq!(Failure::hold("a\0b").cause(), "a\\u{0}b");
        assert_eq!(Failure::new("x".repeat(1 << 20)).cause().len(), 8192);
    }
}
