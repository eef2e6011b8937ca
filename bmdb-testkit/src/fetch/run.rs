//! Running the commands of a client, each within a limit of time.

use crate::command::{NoEnd, output_within};
use std::env;
use std::process::Command;
use std::time::Duration;

/// Sets another limit than the default, for slow networks.
const VARIABLE: &str = "BMDB_TESTKIT_FETCH_SECONDS";

const DEFAULT_SECONDS: u64 = 300;

/// A longer step would look like one left behind by a dead process.
const MOST_SECONDS: u64 = 1800;

/// More than this of what a program printed nobody reads.
const LONGEST_REASON: usize = 400;

/// How long each command may take.
pub(super) struct Limited {
    limit: Duration,
}

impl Limited {
    pub(super) fn from_env() -> Result<Self, String> {
        let set = env::var(VARIABLE).ok().filter(|value| !value.is_empty());
        let seconds = match &set {
            Some(value) => value
                .parse()
                .ok()
                .filter(|seconds| (1..=MOST_SECONDS).contains(seconds))
                .ok_or_else(|| {
                    format!(
                        "{VARIABLE} is {value:?}; set it to a number of seconds from 1 to \
                         {MOST_SECONDS}, or unset it"
                    )
                })?,
            None => DEFAULT_SECONDS,
        };
        Ok(Self {
            limit: Duration::from_secs(seconds),
        })
    }

    /// Runs a command within the limit and returns what it printed.
    pub(super) fn run(&self, command: &mut Command) -> Result<String, String> {
        let program = command.get_program().to_string_lossy().into_owned();
        let output = output_within(self.limit, command).map_err(|error| match error {
            NoEnd::NotRun(error) => format!("`{program}` cannot be run: {error}"),
            NoEnd::TooLong => format!(
                "`{}` did not end within {} s; {VARIABLE} allows more",
                words(command),
                self.limit.as_secs()
            ),
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!(
            "`{program}` ended with {}: {}",
            output.status,
            said(&output.stderr)
        ))
    }
}

/// The command as one would type it, without the paths at its end.
fn words(command: &Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let arguments = command.get_args().map(|word| word.to_string_lossy());
    let plain = arguments.take_while(|word| !word.starts_with("--") && !word.contains('/'));
    plain.fold(program, |typed, word| format!("{typed} {word}"))
}

/// What a program that failed had to say: the lines it calls errors, else all of them.
pub(super) fn said(printed: &[u8]) -> String {
    let printed = String::from_utf8_lossy(printed);
    let lines: Vec<&str> = printed
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.contains("A complete log of this run"))
        .collect();
    let mut errors: Vec<&str> = lines
        .iter()
        .filter_map(|line| {
            line.strip_prefix("ERROR: ")
                .or(line.strip_prefix("npm error "))
        })
        .collect();
    if errors.is_empty() {
        errors = lines;
    }
    if errors.is_empty() {
        return "it printed no reason".to_owned();
    }
    let mut reason = errors.join(", ");
    if let Some((end, _)) = reason.char_indices().nth(LONGEST_REASON) {
        reason.truncate(end);
        reason.push('…');
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::said;

    #[test]
    fn of_a_failed_program_its_errors_are_told_else_all_it_printed() {
        for (printed, expected) in [
            ("WARNING: slow\nERROR: no such version\n", "no such version"),
            (
                "npm error code E404\nnpm error\nnpm error A complete log of this run can be found",
                "code E404",
            ),
            ("No module named pip\n", "No module named pip"),
            ("\n", "it printed no reason"),
        ] {
            assert_eq!(said(printed.as_bytes()), expected);
        }
        assert_eq!(said("é".repeat(1000).as_bytes()).chars().count(), 401);
    }
}
