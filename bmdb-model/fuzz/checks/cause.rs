//! What holds of any text as the cause of a failure.

use bmdb_model::column::Column;

/// Panics where it does not hold.
pub(crate) fn check(cause: &str) {
    let longest = Column::CAUSE.maximum_bytes;
    let recorded = Column::CAUSE.recorded(cause);
    assert!(
        !recorded.contains('\0') && recorded.len() <= longest,
        "{recorded:?}"
    );
    let escaped = cause.replace('\0', "\\u{0}");
    if cause.len() <= longest && escaped.len() <= longest {
        assert_eq!(recorded, escaped);
        return;
    }
    let kept = recorded.strip_suffix(" … [cut]");
    assert!(
        kept.is_some_and(|kept| escaped.starts_with(kept)),
        "{recorded:?}"
    );
    // No more is cut than the character that did not fit.
    let lengths = longest - 3..=longest;
    assert!(lengths.contains(&recorded.len()), "{}", recorded.len());
}
