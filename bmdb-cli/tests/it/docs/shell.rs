//! Shell that runs a document's blocks in order. Exported variables and the working directory persist from
//! block to block; background programs end with the shell.

use super::output::matches;
use super::page::{Block, How};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a block may take.
const LIMIT: Duration = Duration::from_secs(60);

const POLL_INTERVAL: Duration = Duration::from_millis(20);

pub(super) struct Shell {
    folder: PathBuf,
    environment: Vec<(String, OsString)>,
    /// Texts of a document and their replacements here, such as a free address.
    replacements: Vec<(String, String)>,
    background: Vec<Running>,
    started: usize,
}

/// A shell in its own process group, and the file of its output.
struct Running {
    child: Child,
    output: PathBuf,
}

impl Shell {
    /// Creates a shell in this empty folder.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder.join("home"))?;
        fs::write(
            folder.join("folder"),
            folder.join("home").to_string_lossy().as_bytes(),
        )?;
        fs::write(folder.join("exports"), "")?;
        Ok(Self {
            folder: folder.to_owned(),
            environment: Vec::new(),
            replacements: Vec::new(),
            background: Vec::new(),
            started: 0,
        })
    }

    pub(super) fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    pub(super) fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.environment.push((name.to_owned(), value.into()));
    }

    pub(super) fn replace(&mut self, written: &str, replacement: String) {
        self.replacements.push((written.to_owned(), replacement));
    }

    /// Runs a block, and compares its output and its exit code with the document.
    pub(super) fn run(&mut self, block: &Block) -> Result<(), String> {
        let mut running = self.start(&block.commands).map_err(|e| e.to_string())?;
        let prints = block.prints.as_deref().map(|prints| self.replaced(prints));
        let prints = prints.as_deref();
        match block.how {
            How::Skip(_) => Err("this block should be skipped".into()),
            How::Exit(code) => running.ends_with(code, prints),
            How::Watch => {
                running.until_printed(prints)?;
                running.interrupted()
            }
            How::Background => {
                let printed = running.until_printed(prints);
                self.background.push(running);
                printed
            }
        }
    }

    /// The text with its replacements.
    fn replaced(&self, text: &str) -> String {
        let replacements = self.replacements.iter();
        replacements.fold(text.to_owned(), |text, (written, replacement)| {
            text.replace(written, replacement)
        })
    }

    fn start(&mut self, commands: &str) -> io::Result<Running> {
        self.started += 1;
        let script = self.folder.join(format!("{}.sh", self.started));
        let output = self.folder.join(format!("{}.out", self.started));
        // `set -e`: each command of a block must succeed, not only the last one.
        let state = self.folder.display();
        let before = format!(
            ". {state}/exports\ncd \"$(cat {state}/folder)\"\n\
             trap 'code=$?; export -p >{state}/exports; pwd >{state}/folder; exit $code' EXIT\nset -eu\n"
        );
        fs::write(&script, before + &self.replaced(commands))?;
        let mut command = Command::new("sh");
        command
            .arg(&script)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(File::create(&output)?)
            .stderr(File::options().append(true).open(&output)?)
            .process_group(0);
        let child = command.spawn()?;
        Ok(Running { child, output })
    }
}

impl Running {
    fn printed(&self) -> String {
        let bytes = fs::read(&self.output).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn ends_with(&mut self, code: i32, expected: Option<&str>) -> Result<(), String> {
        let status = self.end(LIMIT)?;
        let printed = self.printed();
        if status.code() != Some(code) {
            return Err(format!(
                "{status} instead of exit status {code}, after\n{printed}"
            ));
        }
        match expected {
            Some(expected) if !matches(expected, &printed) => Err(differs(expected, &printed)),
            _ => Ok(()),
        }
    }

    /// Waits until the output begins with the expected text.
    fn until_printed(&mut self, expected: Option<&str>) -> Result<(), String> {
        let expected = expected.ok_or("add the expected output in a `console` block")?;
        let begins = format!("{}\n…", expected.trim_end());
        let since = Instant::now();
        loop {
            let ended = self.child.try_wait().map_err(|e| e.to_string())?;
            let printed = self.printed();
            match ended {
                Some(status) => return Err(format!("it exited early ({status}) after\n{printed}")),
                None if matches(&begins, &printed) => return Ok(()),
                None if since.elapsed() > LIMIT => return Err(differs(expected, &printed)),
                None => thread::sleep(POLL_INTERVAL),
            }
        }
    }

    /// Interrupts it as by Ctrl-C, which is not a failure.
    fn interrupted(&mut self) -> Result<(), String> {
        self.signal(Signal::SIGINT);
        let status = self.end(LIMIT)?;
        let by_signal = status.signal() == Some(Signal::SIGINT as i32);
        if by_signal || matches!(status.code(), Some(0 | 130)) {
            return Ok(());
        }
        Err(format!(
            "{status} when interrupted, after\n{}",
            self.printed()
        ))
    }

    fn end(&mut self, limit: Duration) -> Result<ExitStatus, String> {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().map_err(|e| e.to_string())? {
                return Ok(status);
            }
            if since.elapsed() > limit {
                return Err(format!(
                    "it ran longer than {limit:?}, after\n{}",
                    self.printed()
                ));
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    fn signal(&self, signal: Signal) {
        if let Ok(group) = i32::try_from(self.child.id()) {
            // Fails if the group has exited.
            let _ = killpg(Pid::from_raw(group), signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.signal(Signal::SIGTERM);
            if self.end(Duration::from_secs(5)).is_err() {
                self.signal(Signal::SIGKILL);
                let _ = self.child.wait();
            }
        }
    }
}

fn differs(expected: &str, printed: &str) -> String {
    format!("unexpected output; expected\n{expected}\nprinted\n{printed}")
}
