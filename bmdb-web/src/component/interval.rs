//! Backoff intervals: whole seconds, written as policies write them.

use bmdb_backoff::Seconds;
use maud::{Markup, html};

/// Such as `1h30m`, which policies and commands can read.
pub(crate) fn show(seconds: i64) -> Markup {
    html! { span.interval { (text(seconds)) } }
}

pub(crate) fn text(seconds: i64) -> String {
    Seconds::try_from(seconds)
        .map_or_else(|_| format!("{seconds}s"), |interval| interval.to_string())
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn intervals_are_written_as_policies_write_them() {
        assert_eq!(text(5_400), "1h30m");
        assert_eq!(text(0), "0s");
    }
}
