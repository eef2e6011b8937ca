//! Confirmation: asks before something is destroyed.

use crate::failure::Failure;
use crate::output::shown;
use clap::Args;
use std::io::{IsTerminal, Write};

#[derive(Args)]
pub(crate) struct Confirm {
    /// Do not ask for confirmation; required where there is no terminal.
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
}

impl Confirm {
    /// Asks whether to do `what`, a question without its mark: `Delete machine …`.
    ///
    /// # Errors
    /// `Usage` without a terminal; `Other` if the answer is not yes.
    pub(crate) async fn ask(&self, what: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            let message = format!("no terminal to ask for confirmation: {what}?");
            return Err(Failure::usage(message).hint("add --yes to confirm"));
        }
        let question = format!("{}? [y/N] ", shown(what));
        let answer = tokio::task::spawn_blocking(move || {
            let mut stderr = std::io::stderr();
            stderr.write_all(question.as_bytes())?;
            stderr.flush()?;
            let mut answer = String::new();
            std::io::stdin().read_line(&mut answer).map(|_| answer)
        });
        match answer.await {
            Ok(Ok(answer)) if is_yes(&answer) => Ok(()),
            Ok(Ok(_)) => Err(Failure::other("not confirmed: nothing was done")),
            Ok(Err(error)) => Err(Failure::other(format!("cannot read the answer: {error}"))),
            Err(error) => Err(Failure::other(error.to_string())),
        }
    }
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::is_yes;

    #[test]
    fn only_yes_is_yes() {
        assert!(["y\n", "Y", " yes \n", "YES"].into_iter().all(is_yes));
        assert!(!["", "\n", "n", "yeah", "ja", "yn"].into_iter().any(is_yes));
    }
}
