//! Durations on the command line.

use bmdb_backoff::Seconds;
use std::time::Duration;

/// `0`, `250ms`, or what a backoff's policy takes: `90`, `5m`, `1h30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    if matches!(text, "0" | "0s") {
        return Ok(Duration::ZERO);
    }
    if let Some(millis) = text.strip_suffix("ms") {
        return millis
            .parse()
            .map(Duration::from_millis)
            .map_err(|error| format!("milliseconds: {error}"));
    }
    match text.parse::<Seconds>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds.get().into())),
        Err(error) => Err(format!("{error}; write 250ms, 30s, 5m or 1h30m")),
    }
}

/// The same for a limit: with none left, everything would have failed before it began.
pub(super) fn limit(text: &str) -> Result<Duration, String> {
    let limit = duration(text)?;
    if limit.is_zero() {
        return Err("nothing ends in no time; leave the option out for no limit".to_owned());
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read() {
        for (text, millis) in [
            ("0", 0),
            ("250ms", 250),
            ("30s", 30_000),
            ("1h30m", 5_400_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)));
        }
        for text in ["", "x", "-1s", "ms", "1.5s", "5 m"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_limit_is_not_zero() {
        assert_eq!(limit("1ms"), Ok(Duration::from_millis(1)));
        for text in ["0", "0s", "0ms", "x"] {
            assert!(limit(text).is_err(), "{text}");
        }
    }
}
