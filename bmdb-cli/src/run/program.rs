//! Program check: whether this host can start what a command line begins with.
//!
//! A shell exits with 126 or 127 if it cannot start a program, and so does a script of which a program is
//! missing. Only the first is the fault of the host, so the program that the line names is looked at.

mod file;

use crate::reaper::Reaper;
use file::{cannot_start, file_problem, in_path, loader_problem};
use std::path::PathBuf;
use std::process::Stdio;
use tokio::process::Command;

/// The exit codes of shells that cannot start a program (126), do not find it (127), or cannot start a process
/// (2 and 254).
const EXIT_NOT_STARTED: [i32; 4] = [2, 126, 127, 254];

/// Programs that start the one that they are given.
const WRAPPERS: [&str; 12] = [
    "chrt", "doas", "env", "ionice", "nice", "nohup", "setsid", "stdbuf", "sudo", "taskset",
    "time", "timeout",
];

/// Programs that read the file that they are given.
const SHELLS: [&str; 6] = ["ash", "bash", "dash", "ksh", "sh", "zsh"];

/// The program that a command line begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    name: String,
    /// The rest of the line.
    arguments: String,
}

/// Why a shell that exited with this code could not start the command: by the fault of this host. `None` if it
/// could, or if that is not known.
pub(super) async fn why_not_started(line: &str, code: i32, reaper: &Reaper) -> Option<String> {
    if !EXIT_NOT_STARTED.contains(&code) {
        return None;
    }
    // With a process of its own, as most commands need.
    if !shell_succeeds("(:) & wait $!", "", reaper).await {
        return Some("cannot start a process in a shell".to_owned());
    }
    let mut program = Program::of(line).filter(|_| code > 2 && code < 128)?;
    loop {
        if let Some(problem) = program.problem(reaper).await {
            return Some(problem);
        }
        if let Some(problem) = program.path().as_deref().and_then(loader_problem) {
            return Some(problem);
        }
        if let Some(script) = program.script() {
            return script
                .metadata()
                .err()
                .map(|error| cannot_start(&script, &error));
        }
        program = program.wrapped()?;
    }
}

impl Program {
    /// `None` if the shell alone knows what it is.
    pub(super) fn of(line: &str) -> Option<Self> {
        let mut rest = line.trim_start();
        loop {
            let (word, behind) = first_word(rest)?;
            rest = behind.trim_start();
            let is_assignment = word.split_once('=').is_some_and(|(name, _)| {
                !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            });
            if word.starts_with("PATH=") || word.is_empty() {
                return None;
            }
            if word == "exec" || is_assignment {
                continue;
            }
            return (!word.starts_with('-')).then(|| Self {
                name: word,
                arguments: rest.to_owned(),
            });
        }
    }

    /// Whether the line consists of one command, so that nothing happens without this program.
    fn is_only(&self) -> bool {
        let syntax = [';', '|', '&', '(', ')', '<', '>', '\n', '`', '$'];
        !self.arguments.contains(syntax)
    }

    /// Why the host cannot start it; `None` if it can.
    async fn problem(&self, reaper: &Reaper) -> Option<String> {
        let name = &self.name;
        match self.path() {
            Some(path) => file_problem(&path),
            // Part of the shell, such as `if` or `cd`.
            None if shell_succeeds("command -v -- \"$0\"", name, reaper).await => None,
            None => Some(format!("no program {name:?} in PATH")),
        }
    }

    fn path(&self) -> Option<PathBuf> {
        match self.name.contains('/') {
            true => Some(PathBuf::from(&self.name)),
            false => in_path(&self.name),
        }
    }

    fn is_one_of(&self, names: &[&str]) -> bool {
        let name = self.name.rsplit('/').next().unwrap_or_default();
        names.contains(&name)
    }

    /// The program that this one starts, as in `timeout 10 ./start.sh`.
    fn wrapped(&self) -> Option<Self> {
        if !self.is_one_of(&WRAPPERS) {
            return None;
        }
        let mut rest = self.arguments.as_str();
        loop {
            let (word, behind) = first_word(rest)?;
            // Options, their numbers, and what `env` sets.
            let is_option = word.starts_with(|c: char| c == '-' || c.is_ascii_digit());
            match is_option || word.contains('=') {
                true => rest = behind.trim_start(),
                false => return Self::of(rest),
            }
        }
    }

    /// The file that this shell reads, as in `bash ./start.sh`.
    fn script(&self) -> Option<PathBuf> {
        let (word, _) = first_word(&self.arguments)?;
        let is_script = self.is_one_of(&SHELLS) && !word.is_empty() && !word.starts_with('-');
        is_script.then(|| PathBuf::from(word))
    }
}

/// Why this host can run nothing of the line: the shell, or the only program of it, cannot be started.
pub(super) async fn refuse_at_start(line: &str, reaper: &Reaper) -> Option<String> {
    if in_path("sh").is_none() {
        return Some("no program \"sh\" in PATH".to_owned());
    }
    match Program::of(line) {
        Some(program) if program.is_only() => program.problem(reaper).await,
        _ => None,
    }
}

/// The first word and the rest; `None` if only the shell knows the word.
fn first_word(line: &str) -> Option<(String, &str)> {
    let mut word = String::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        match c {
            '\'' | '"' => {
                let (quoted, behind) = rest[1..].split_once(c)?;
                if c == '"' && quoted.contains(['$', '`', '\\']) {
                    return None;
                }
                word.push_str(quoted);
                rest = behind;
                continue;
            }
            '$' | '`' | '\\' | '*' | '?' | '[' | '{' | '~' | '#' | '!' => return None,
            ';' | '|' | '&' | '(' | ')' | '<' | '>' => break,
            c if c.is_ascii_whitespace() => break,
            c => word.push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    Some((word, rest))
}

/// Whether a shell runs this with success. `word` is its `$0`.
async fn shell_succeeds(script: &str, word: &str, reaper: &Reaper) -> bool {
    let mut command = Command::new("sh");
    command
        .args(["-c", script, word])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    match reaper.spawn(&mut command) {
        Ok(mut own) => own.child.wait().await.is_ok_and(|status| status.success()),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_program_of_a_line_is_its_first_word_that_is_no_assignment() {
        let name = |line: &str| {
            let program = Program::of(line)?;
            Some((program.name.clone(), program.is_only()))
        };
        let only = |name: &str| Some((name.to_owned(), true));
        let first = |name: &str| Some((name.to_owned(), false));
        for (line, expected) in [
            ("./start.sh", only("./start.sh")),
            ("  ./start.sh --now", only("./start.sh")),
            ("A=1 B='x y' exec start now", only("start")),
            ("'./my start.sh' now", only("./my start.sh")),
            ("\"./my start.sh\"", only("./my start.sh")),
            ("start; stop", first("start")),
            ("start||stop", first("start")),
            ("start > log", first("start")),
            ("start \"$BMDB_ADDRESS\"", first("start")),
            ("$TOOL now", None),
            ("PATH=/x start", None),
            ("\"$TOOL\"", None),
            ("> log start", None),
            ("(start)", None),
            ("{ start; }", None),
            ("~/start", None),
            ("exec -a x start", None),
            ("# nothing", None),
            ("'open", None),
            ("", None),
        ] {
            assert_eq!(name(line), expected, "{line}");
        }
    }

    #[tokio::test]
    async fn what_a_host_cannot_start_is_named() {
        let folder = std::env::temp_dir().join(format!("bmdb-program-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = |name: &str, text: &[u8], mode: u32| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            path.display().to_string()
        };
        let mut elf = b"\x7fELF\x02\x01".to_vec();
        elf.resize(64, 0);
        elf[32] = 64;
        (elf[54], elf[56]) = (56, 1);
        let mut entry = [0_u8; 56];
        (entry[0], entry[8], entry[32]) = (3, 120, 8);
        elf.extend(entry);
        elf.extend(b"/no/ld\0\0");
        let reaper = Reaper::default();
        let none = folder.join("none").display().to_string();
        for (line, problem) in [
            (file("ok", b"#!/bin/sh\nexit 1", 0o755), None),
            (file("plain", b"exit 1", 0o755), None),
            ("sh -c true".to_owned(), None),
            ("cd /".to_owned(), None),
            ("if true".to_owned(), None),
            (
                "no-such-program".to_owned(),
                Some("no program \"no-such-program\" in PATH"),
            ),
            (none.clone(), Some("No such file")),
            (folder.display().to_string(), Some("is a folder")),
            (
                file("mode", b"#!/bin/sh\n", 0o644),
                Some("is not executable"),
            ),
            (
                format!("env A=1 timeout -k 1 10 {none}"),
                Some("No such file"),
            ),
            (format!("bash {none} --now"), Some("No such file")),
            ("nice -n 10 no-such-program".to_owned(), Some("no program")),
            (format!("sh -c {none}"), None),
            (format!("cat {none}"), None),
            (
                file("python", b"#! /no/python -u\n", 0o755),
                Some("its interpreter \"/no/python\" is missing"),
            ),
            (
                file("crlf", b"#!/bin/sh\r\nexit 0\r\n", 0o755),
                Some("its interpreter \"/bin/sh\\r\" is missing"),
            ),
            (
                file("musl", &elf, 0o755),
                Some("its loader \"/no/ld\" is missing"),
            ),
        ] {
            let found = why_not_started(&line, 127, &reaper).await;
            match problem {
                None => assert_eq!(found, None, "{line}"),
                Some(problem) => assert!(found.unwrap().contains(problem), "{line}"),
            }
        }
        assert_eq!(why_not_started(&none, 1, &reaper).await, None);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
