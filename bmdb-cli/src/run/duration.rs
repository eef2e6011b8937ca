//! Durations as arguments.

use bmdb_backoff::Seconds;
use std::time::Duration;

/// Parses `0`, `250ms`, or an interval of a backoff policy: `90`, `5m`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if matches!(text, "0" | "0s") {
        return Ok(Duration::ZERO);
    }
    if let Some(millis) = text.strip_suffix("ms") {
        return millis
            .parse()
            .map(Duration::from_millis)
            .map_err(|error| format!("invalid milliseconds: {error}"));
    }
    match text.parse::<Seconds>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds.get().into())),
        Err(error) => Err(format!(
            "{error}: expected a time such as 250ms, 30s, 5m or 1h30m"
        )),
    }
}

/// Parses a timeout. With zero, every command would fail before it starts.
pub(crate) fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration(text)?;
    if timeout.is_zero() {
        return Err("expected more than 0; leave the option out for no limit".to_owned());
    }
    Ok(timeout)
}

/// Parses a time that must not be zero, for which nothing would happen.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time.is_zero() {
        return Err("expected more than 0".to_owned());
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_parsed() {
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
    fn a_timeout_is_not_zero() {
        assert_eq!(timeout("1ms"), Ok(Duration::from_millis(1)));
        for text in ["0", "0s", "0ms", "x"] {
            assert!(timeout(text).is_err(), "{text}");
        }
    }
}
