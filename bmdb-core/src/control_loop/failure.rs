//! Why nothing was achieved on a machine, and what is to become of it.

use bmdb_backoff::Backoff;
use std::borrow::Cow;
use std::error::Error;

/// Why a machine could not be processed. `?` makes one of every error, whose sources are told too, and
/// of every text.
///
/// It is not an error itself, so that all errors can be turned into it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a failure that is not returned is not recorded"]
pub struct Failure {
    cause: String,
    backoff: Option<Backoff>,
    verdict: Verdict,
}

/// What becomes of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It rests for the next interval of a backoff.
    Rest,
    /// So it does, and it is put on hold.
    Hold,
    /// Nothing: the attempt is no failure.
    Cancel,
}

impl Failure {
    /// The machine rests for the next interval of the loop's backoff. `cause` is for people, and
    /// recorded up to 8 KiB of it.
    pub fn new(cause: impl Into<String>) -> Self {
        Self::with(cause.into(), Verdict::Rest)
    }

    /// Never again until something is changed: the machine is put on hold, with this cause as reason,
    /// in the transaction that records the failure. Nothing starts on it, whatever the process, until
    /// somebody releases it.
    pub fn hold(cause: impl Into<String>) -> Self {
        Self::with(cause.into(), Verdict::Hold)
    }

    /// No verdict: the attempt is recorded as canceled, and no backoff begins or grows.
    ///
    /// The loop keeps the machine for [`LoopOptions::cancel_pause`](super::LoopOptions::cancel_pause)
    /// before it gives it back, or it would be claimed again at once.
    pub fn cancel() -> Self {
        Self::with("canceled".to_owned(), Verdict::Cancel)
    }

    /// The same, with a backoff of its own instead of the loop's.
    pub fn backoff(self, backoff: Backoff) -> Self {
        Self {
            backoff: Some(backoff),
            ..self
        }
    }

    /// Why, for people.
    #[must_use]
    pub fn cause(&self) -> &str {
        &self.cause
    }

    pub(super) fn own_backoff(&self) -> Option<&Backoff> {
        self.backoff.as_ref()
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The database stores no NUL, and a reason is not empty; neither is worth losing a cause for.
    fn with(cause: String, verdict: Verdict) -> Self {
        let cause = if cause.is_empty() {
            "no reason given".to_owned()
        } else if cause.contains('\0') {
            cause.replace('\0', "\u{fffd}")
        } else {
            cause
        };
        Self {
            cause,
            backoff: None,
            verdict,
        }
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(told(&*error.into()))
    }
}

/// An error and its sources. Many errors end with their source's text, which is told once.
fn told(error: &(dyn Error + 'static)) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next: Cow<'_, str> = error.to_string().into();
        if !told.ends_with(&*next) {
            told.push_str(": ");
            told.push_str(&next);
        }
        source = error.source();
    }
    told
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
    fn an_error_is_told_with_its_sources_each_once() {
        let refused = || std::io::Error::other("connection refused");
        let failure = Failure::from(Power(Call(refused())));
        assert_eq!(
            failure.cause(),
            "no power: the call failed: connection refused"
        );
        assert_eq!(failure.verdict(), Verdict::Rest);
    }

    #[test]
    fn every_text_and_every_error_becomes_one_by_a_question_mark() {
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
    fn a_cause_can_be_stored() {
        assert_eq!(Failure::new("").cause(), "no reason given");
        assert_eq!(Failure::hold("a\0b").cause(), "a\u{fffd}b");
    }
}
