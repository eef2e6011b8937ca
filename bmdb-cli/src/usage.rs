//! Parsing of the command line, and what is wrong with it.

use crate::commands::Cli;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, shown};
use clap::error::ErrorKind;
use clap::{ColorChoice, CommandFactory, FromArgMatches};
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

/// Parses the command line. On an error, or after printing help, returns the exit code.
pub(crate) fn parse() -> Result<Cli, ExitCode> {
    let args: Vec<OsString> = std::env::args_os().collect();
    parsed(&args).map_err(|error| refuse(error, &args))
}

fn parsed(args: &[OsString]) -> Result<Cli, clap::Error> {
    let command = Cli::command().color(colour(args));
    let matches = command.try_get_matches_from(args)?;
    Cli::from_arg_matches(&matches)
}

/// The arguments as they are shown; those that are not UTF-8 stay.
fn legible(args: &[OsString]) -> Vec<OsString> {
    let legible = args.iter().map(|arg| match arg.to_str() {
        Some(text) => shown(text).into_owned().into(),
        None => arg.clone(),
    });
    legible.collect()
}

fn refuse(error: clap::Error, args: &[OsString]) -> ExitCode {
    let is_help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    if !is_help && has(args, "--json") {
        output::error_line(&output::failure_as_json(&failure(&error.to_string())));
        return Exit::Usage.into();
    }
    // The error quotes arguments. This one quotes them as they are shown.
    let error = parsed(&legible(args)).err().unwrap_or(error);
    let text = error.render().to_string();
    let shown = text.lines().map(shown).collect::<Vec<_>>().join("\n");
    let printed = match (shown == text.trim_end(), error.use_stderr()) {
        (true, _) => error.print(),
        // It quotes a variable, or it has characters that the terminal does not.
        (false, true) => {
            output::error_line(&shown);
            Ok(())
        }
        (false, false) => writeln!(io::stdout(), "{shown}"),
    };
    if let Err(error) = printed
        && is_help
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        let failure = output::not_written(&error);
        output::error_line(&format!("error: {failure}"));
        return failure.exit().into();
    }
    match error.use_stderr() {
        true => Exit::Usage.into(),
        false => ExitCode::SUCCESS,
    }
}

/// Keeps the message and the tip of clap's text, without the usage, which is for people.
fn failure(text: &str) -> Failure {
    let mut paragraphs = text.trim().split("\n\n").map(str::trim);
    let message = paragraphs.next().unwrap_or_default();
    let failure = Failure::usage(message.trim_start_matches("error: "));
    match paragraphs.find_map(|paragraph| paragraph.strip_prefix("tip: ")) {
        Some(tip) => failure.hint(tip),
        None => failure,
    }
}

/// The value of `--color`, which help and errors need before the command line is parsed.
fn colour(args: &[OsString]) -> ColorChoice {
    let is =
        |value: &str| has(args, &format!("--color={value}")) || follows(args, "--color", value);
    match (is("always"), is("never")) {
        (_, true) => ColorChoice::Never,
        (true, _) => ColorChoice::Always,
        _ => ColorChoice::Auto,
    }
}

/// The arguments before `--`; those behind it belong to another program.
fn own(args: &[OsString]) -> Vec<&OsString> {
    args.iter().take_while(|arg| *arg != "--").collect()
}

fn has(args: &[OsString], option: &str) -> bool {
    own(args).iter().any(|arg| *arg == option)
}

/// Whether the option is followed by this value.
fn follows(args: &[OsString], option: &str, value: &str) -> bool {
    let args = own(args);
    args.windows(2)
        .any(|pair| pair[0] == option && pair[1] == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tree_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_error_keeps_its_message_and_its_tip() {
        let wrong = |line: &str| {
            let error = Cli::command().try_get_matches_from(line.split(' '));
            failure(&error.unwrap_err().to_string())
        };
        let misspelt = wrong("bmdb stats --wach");
        assert_eq!(misspelt.to_string(), "unexpected argument '--wach' found");
        let tip = "a similar argument exists: '--watch'";
        assert_eq!(misspelt.what_to_do(), Some(tip));
        let missing = wrong("bmdb machine hold 67e5");
        assert_eq!(
            missing.to_string(),
            "the following required arguments were not provided:\n  --reason <TEXT>"
        );
        assert_eq!(missing.what_to_do(), None);
    }

    #[test]
    fn colours_are_known_before_the_rest_is_parsed() {
        let choice = |line: &str| colour(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(choice("bmdb --color=always stats"), ColorChoice::Always);
        assert_eq!(choice("bmdb stats --color never"), ColorChoice::Never);
        assert_eq!(choice("bmdb run -- ls --color=always"), ColorChoice::Auto);
    }
}
