//! `--watch`: the same answer again and again.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Report;
use bmdb_backoff::Seconds;
use clap::Args;
use std::time::Duration;

#[derive(Args)]
pub(crate) struct Watch {
    /// Show it again every so often (2s) until Ctrl-C; with --json one object a line.
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, require_equals = true,
          default_missing_value = "2s", value_parser = interval)]
    watch: Option<Seconds>,
}

impl Watch {
    pub(crate) const fn is_on(&self) -> bool {
        self.watch.is_some()
    }

    /// Shows what `read` comes back with: once, or until Ctrl-C is pressed, which is no failure then. A
    /// database that goes away meanwhile is waited for.
    pub(crate) async fn show<R: Report>(
        &self,
        context: &Context,
        read: impl AsyncFn() -> Result<R, Failure>,
    ) -> Result<(), Failure> {
        let Some(interval) = self.watch else {
            return context.output.report(&read().await?);
        };
        let again = async {
            let mut screen = context.output.screen();
            screen.draw(&read().await?)?;
            loop {
                tokio::time::sleep(Duration::from(interval)).await;
                match read().await {
                    Ok(report) => screen.draw(&report)?,
                    Err(failure) if failure.exit() == Exit::Unreachable => {
                        tracing::warn!("{failure}; trying again");
                    }
                    Err(failure) => return Err(failure),
                }
            }
        };
        tokio::select! {
            failed = again => failed,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    }
}

/// An interval such as `5s` or `1m30s`; a plain number counts seconds.
pub(crate) fn interval(text: &str) -> Result<Seconds, String> {
    match text.parse::<u32>() {
        Ok(seconds) => Seconds::new(seconds).ok_or_else(|| "at least one second".to_owned()),
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
