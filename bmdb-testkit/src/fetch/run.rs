//! Runs the commands of a client, each with a timeout.

use crate::command::{NoExit, output_within};
use std::env;
use std::process::Command;
use std::time::Duration;

/// Sets another timeout than the default, for slow networks.
const VARIABLE: &str = "BMDB_TESTKIT_FETCH_SECONDS";

const DEFAULT_SECONDS: u64 = 300;

/// The folder of a longer step would look abandoned.
const MAX_SECONDS: u64 = 1800;

/// How many characters of a program's output an error quotes.
const MAX_REASON: usize = 400;

/// Runs commands with a timeout.
pub(super) struct Runner {
    timeout: Duration,
}

impl Runner {
    pub(super) fn from_env() -> Result<Self, String> {
        let set = env::var(VARIABLE).ok().filter(|value| !value.is_empty());
        let seconds = match &set {
            Some(value) => value
                .parse()
                .ok()
                .filter(|seconds| (1..=MAX_SECONDS).contains(seconds))
                .ok_or_else(|| {
                    format!(
                        "{VARIABLE} is {value:?}; set it to a number of seconds from 1 to \
                         {MAX_SECONDS}, or unset it"
                    )
                })?,
            None => DEFAULT_SECONDS,
        };
        Ok(Self {
            timeout: Duration::from_secs(seconds),
        })
    }

    /// Runs a command, and returns its standard output.
    pub(super) fn run(&self, command: &mut Command) -> Result<String, String> {
        let program = command.get_program().to_string_lossy().into_owned();
        let output = output_within(self.timeout, command).map_err(|error| match error {
            NoExit::NotRun(error) => format!("`{program}` cannot be run: {error}"),
            NoExit::TimedOut => format!(
                "`{}` did not end within {} s; {VARIABLE} allows more",
                without_paths(command),
                self.timeout.as_secs()
            ),
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!(
            "`{program}` ended with {}: {}",
            output.status,
            reason(&output.stderr)
        ))
    }
}

/// The command line up to its first path or long option.
fn without_paths(command: &Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let arguments = command.get_args().map(|word| word.to_string_lossy());
    let plain = arguments.take_while(|word| !word.starts_with("--") && !word.contains('/'));
    plain.fold(program, |typed, word| format!("{typed} {word}"))
}

/// Why a program failed: the lines that it marks as errors, else everything it printed.
pub(super) fn reason(printed: &[u8]) -> String {
    let printed = String::from_utf8_lossy(printed);
    let lines: Vec<&str> = printed
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.contains("A complete log of this run"))
        .collect();
    let errors: Vec<&str> = lines
        .iter()
        .filter_map(|line| {
            line.strip_prefix("ERROR: ")
                .or(line.strip_prefix("npm error "))
        })
        .collect();
    let mut reason = match (errors.is_empty(), lines.is_empty()) {
        (false, _) => errors.join(", "),
        (true, false) => lines.join(", "),
        (true, true) => return "it printed no reason".to_owned(),
    };
    if let Some((end, _)) = reason.char_indices().nth(MAX_REASON) {
        reason.truncate(end);
        reason.push('…');
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn the_reason_is_the_errors_of_a_failed_program_else_all_it_printed() {
        for (printed, expected) in [
            ("WARNING: slow\nERROR: no such version\n", "no such version"),
            (
                "npm error code E404\nnpm error\nnpm error A complete log of this run can be found",
                "code E404",
            ),
            ("No module named pip\n", "No module named pip"),
            ("\n", "it printed no reason"),
        ] {
            assert_eq!(reason(printed.as_bytes()), expected);
        }
        assert_eq!(reason("é".repeat(1000).as_bytes()).chars().count(), 401);
    }
}
