//! `--watch`: the same answer, read and printed repeatedly.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Report, Screen};
use bmdb_backoff::Seconds;
use clap::Args;
use std::time::Duration;

#[derive(Args)]
pub(crate) struct Watch {
    /// Repeat until Ctrl-C, at this interval or every 2 seconds; with --json, one object a line.
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, require_equals = true,
          default_missing_value = "2s", value_parser = interval)]
    watch: Option<Seconds>,
}

impl Watch {
    /// Prints what `read` returns: once, or repeatedly until Ctrl-C, which is a success after the first answer.
    /// Reading is tried again while the database is unreachable or a table is locked.
    pub(crate) async fn show<R: Report>(
        &self,
        context: &Context,
        read: impl AsyncFn() -> Result<R, Failure>,
    ) -> Result<(), Failure> {
        let Some(interval) = self.watch else {
            return context.output.report(&read().await?);
        };
        let mut screen = Screen::new(context.output);
        screen.draw(&read().await?)?;
        let ctrl_c = context.signals.ctrl_c();
        let repeat = async {
            loop {
                tokio::time::sleep(Duration::from(interval)).await;
                match read().await {
                    Ok(report) => screen.draw(&report)?,
                    // A read conflicts only with a migration that has locked a table.
                    Err(failure)
                        if matches!(failure.exit(), Exit::Unreachable | Exit::Conflict) =>
                    {
                        tracing::warn!("{failure}; trying again");
                    }
                    Err(failure) => return Err(failure),
                }
            }
        };
        tokio::select! {
            failed = repeat => failed,
            () = ctrl_c => Ok(()),
        }
    }
}

/// Parses an interval such as `5s` or `1m30s`; a plain number counts seconds.
pub(crate) fn interval(text: &str) -> Result<Seconds, String> {
    match text.parse::<u32>() {
        Ok(seconds) => {
            Seconds::new(seconds).ok_or_else(|| "expected at least one second".to_owned())
        }
        Err(_) => text
            .parse()
            .map_err(|error: bmdb_backoff::ParseError| error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::interval;

    #[test]
    fn an_interval_is_a_number_of_seconds_or_has_units() {
        for (text, seconds) in [("2", 2), ("5s", 5), ("1m30s", 90)] {
            assert_eq!(interval(text).unwrap().get(), seconds);
        }
        for bad in ["0", "", "-1", "1.5", "5 s"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }
}
