//! What holds of any text as the cause of a failure.

use bmdb_model::Error;
use bmdb_model::internal::work::{MAXIMUM_CAUSE_BYTES, recorded_cause};

/// Panics where it does not hold.
pub(crate) fn check(cause: &str) {
    match recorded_cause(cause) {
        Err(Error::NulByte { offset, .. }) => assert_eq!(cause.find('\0'), Some(offset)),
        Err(error) => panic!("{cause:?} is refused: {error}"),
        Ok(recorded) if cause.len() <= MAXIMUM_CAUSE_BYTES => assert_eq!(recorded, cause),
        Ok(recorded) => {
            let kept = recorded.strip_suffix(" … [cut]");
            assert!(
                kept.is_some_and(|kept| cause.starts_with(kept)),
                "{recorded:?}"
            );
            // No more is cut than the character that did not fit.
            let lengths = MAXIMUM_CAUSE_BYTES - 3..=MAXIMUM_CAUSE_BYTES;
            assert!(lengths.contains(&recorded.len()), "{}", recorded.len());
        }
    }
}
