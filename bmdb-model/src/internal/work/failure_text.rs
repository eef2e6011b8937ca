//! The texts of failures, as they are recorded.

use crate::Error;
use crate::error::storable;
use std::borrow::Cow;

/// The longest cause that is kept, in bytes. Longer ones are cut and marked.
pub const MAXIMUM_CAUSE_BYTES: usize = 8192;

const CUT_MARK: &str = " … [cut]";

/// The cause as a failure records it: longer than [`MAXIMUM_CAUSE_BYTES`] it is cut at a character
/// boundary and marked.
///
/// # Errors
/// [`Error::NulByte`], even if the byte would be cut off.
pub fn recorded_cause(cause: &str) -> Result<Cow<'_, str>, Error> {
    storable("cause", cause)?;
    if cause.len() <= MAXIMUM_CAUSE_BYTES {
        return Ok(Cow::Borrowed(cause));
    }
    let end = cause.floor_char_boundary(MAXIMUM_CAUSE_BYTES - CUT_MARK.len());
    Ok(Cow::Owned(format!("{}{CUT_MARK}", &cause[..end])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_cause_is_cut_at_a_character_and_marked() {
        let cause = "ß".repeat(5000);
        let cut = recorded_cause(&cause).unwrap();
        assert!(cut.len() <= MAXIMUM_CAUSE_BYTES && cut.ends_with(CUT_MARK));
        assert_eq!(recorded_cause("no answer").unwrap(), "no answer");
    }
}
