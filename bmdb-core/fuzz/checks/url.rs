//! What holds of any text as a database URL.

use bmdb_core::DatabaseUrl;

/// Panics where it does not hold.
pub(crate) fn check(text: &str) {
    if let Ok(url) = text.parse::<DatabaseUrl>() {
        // Without its password, which is not shown.
        let shown = url.to_string();
        let again: Result<DatabaseUrl, _> = shown.parse();
        assert_eq!(again.map(|url| url.to_string()).as_ref(), Ok(&shown));
    }
}
