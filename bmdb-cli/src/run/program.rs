//! Program check: whether this host can start what a command line begins with.
//!
//! A shell exits with 126 or 127 if it cannot start a program, and so does a script of which a program is
//! missing. Only the first is the fault of the host, so the program that the line names is looked at.

use crate::reaper::Reaper;
use nix::unistd::{AccessFlags, access};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// Where programs are searched for without PATH.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How much of a program's beginning is read: more than the kernel does for the interpreter.
const HEAD: u64 = 4096;

/// The program that a command line begins with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    name: String,
    /// Whether the line consists of one command, so that nothing happens without this program.
    is_only: bool,
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
            let is_only = !rest.contains([';', '|', '&', '(', ')', '<', '>', '\n', '`', '$']);
            return (!word.starts_with('-')).then_some(Self {
                name: word,
                is_only,
            });
        }
    }

    /// Why the host cannot start it; `None` if it can.
    pub(super) async fn problem(&self, reaper: &Reaper) -> Option<String> {
        let name = &self.name;
        let path = match name.contains('/') {
            true => PathBuf::from(name),
            false => match in_path(name) {
                Some(path) => path,
                None if shell_knows(name, reaper).await => return None,
                None => return Some(format!("no program {name:?} in PATH")),
            },
        };
        file_problem(&path)
    }

    /// Why the program could not be started, after the shell has said so.
    pub(super) async fn why_not_started(&self, reaper: &Reaper) -> Option<String> {
        match self.problem(reaper).await {
            Some(problem) => Some(problem),
            None => {
                let path = match self.name.contains('/') {
                    true => PathBuf::from(&self.name),
                    false => in_path(&self.name)?,
                };
                loader_problem(&path)
            }
        }
    }
}

/// Why this host can run nothing of the line: the shell, or the only program of it, cannot be started.
pub(super) async fn refuse_at_start(line: &str, reaper: &Reaper) -> Option<String> {
    if in_path("sh").is_none() {
        return Some("no program \"sh\" in PATH".to_owned());
    }
    match Program::of(line) {
        Some(program) if program.is_only => program.problem(reaper).await,
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

/// The file that a shell would start.
fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, AccessFlags::X_OK).is_ok()
}

/// Whether the word is part of the shell, such as `if` or `cd`.
async fn shell_knows(word: &str, reaper: &Reaper) -> bool {
    let mut command = Command::new("sh");
    command
        .args(["-c", "command -v -- \"$0\"", word])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    match reaper.spawn(&mut command) {
        Ok(mut own) => own.child.wait().await.is_ok_and(|status| status.success()),
        Err(_) => false,
    }
}

fn file_problem(path: &Path) -> Option<String> {
    let name = path.display().to_string();
    match path.metadata() {
        Err(error) => return Some(format!("cannot start {name:?}: {error}")),
        Ok(file) if file.is_dir() => return Some(format!("{name:?} is a folder, not a program")),
        Ok(_) if access(path, AccessFlags::X_OK).is_err() => {
            return Some(format!("{name:?} is not executable for this user"));
        }
        Ok(_) => {}
    }
    let head = head(path)?;
    let line = head
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let interpreter = line
        .trim_ascii_start()
        .split(|byte| b" \t".contains(byte))
        .next()?;
    let interpreter = String::from_utf8_lossy(interpreter);
    (!is_executable(Path::new(&*interpreter)))
        .then(|| format!("cannot start {name:?}: its interpreter {interpreter:?} is missing"))
}

/// What the kernel knows of a binary: the dynamic loader that it names does not exist here, as when the image
/// of a container has another C library.
fn loader_problem(path: &Path) -> Option<String> {
    const INTERPRETER: u32 = 3;
    let head = head(path)?;
    // 64 bit and little-endian.
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let number = |at: usize, size: usize| {
        let bytes = head.get(at..at.checked_add(size)?)?;
        let number = bytes
            .iter()
            .rev()
            .fold(0_u64, |n, b| (n << 8) | u64::from(*b));
        usize::try_from(number).ok()
    };
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let entries = (0..count).filter_map(|n| table.checked_add(n.checked_mul(size)?));
    let loader = entries
        .filter(|entry| number(*entry, 4) == usize::try_from(INTERPRETER).ok())
        .find_map(|entry| {
            let from = number(entry.checked_add(8)?, 8)?;
            let to = from.checked_add(number(entry.checked_add(32)?, 8)?)?;
            head.get(from..to)
        })?;
    let loader = String::from_utf8_lossy(loader);
    let loader = loader.trim_end_matches('\0');
    let name = path.display().to_string();
    (!Path::new(loader).exists())
        .then(|| format!("cannot start {name:?}: its loader {loader:?} is missing"))
}

fn head(path: &Path) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(HEAD).read_to_end(&mut head).ok()?;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_program_of_a_line_is_its_first_word_that_is_no_assignment() {
        let name = |line| Program::of(line).map(|program| (program.name, program.is_only));
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
            (
                folder.join("none").display().to_string(),
                Some("No such file"),
            ),
            (folder.display().to_string(), Some("is a folder")),
            (
                file("mode", b"#!/bin/sh\n", 0o644),
                Some("is not executable"),
            ),
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
            let program = Program::of(&line).unwrap();
            let found = program.why_not_started(&reaper).await;
            match problem {
                None => assert_eq!(found, None, "{line}"),
                Some(problem) => assert!(found.unwrap().contains(problem), "{line}"),
            }
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
