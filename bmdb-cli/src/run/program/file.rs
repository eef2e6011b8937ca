//! Program file: where it is, and why the kernel would not start it.

use nix::unistd::{AccessFlags, access};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Where programs are searched for without PATH.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How much of a program's beginning is read: more than the kernel does for the interpreter.
const HEAD: u64 = 4096;

/// The file that a shell would start.
pub(super) fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| is_executable(file))
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, AccessFlags::X_OK).is_ok()
}

pub(super) fn cannot_start(path: &Path, error: &io::Error) -> String {
    format!("cannot start {:?}: {error}", path.display().to_string())
}

/// Why the file cannot be started; `None` if it can.
pub(super) fn file_problem(path: &Path) -> Option<String> {
    let name = path.display().to_string();
    match path.metadata() {
        Err(error) => return Some(cannot_start(path, &error)),
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
pub(super) fn loader_problem(path: &Path) -> Option<String> {
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
