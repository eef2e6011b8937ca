//! What is shown while a run goes on: each fault, and a line that is drawn anew.

use std::io::{IsTerminal, Write, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Where nothing can be drawn anew a line comes this often.
const PLAIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Progress {
    terminal: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    line: String,
    last_plain: Option<Duration>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            terminal: stderr().is_terminal(),
            state: Mutex::default(),
        }
    }

    /// A line that stays.
    pub(crate) fn say(&self, at: Duration, message: &str) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        eprintln!("{clear}{:6.1} s  {message}", at.as_secs_f64());
        if self.terminal {
            eprint!("{}", state.line);
            // A terminal that is gone shows nothing.
            let _ = stderr().flush();
        }
    }

    /// The line that is drawn anew.
    pub(crate) fn show(&self, at: Duration, message: &str) {
        let line = format!("{:6.1} s  {message}", at.as_secs_f64());
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.terminal {
            eprint!("\r{line}\x1b[K");
            let _ = stderr().flush();
            state.line = line;
        } else if state.last_plain.is_none_or(|last| at >= last + PLAIN) {
            eprintln!("{line}");
            state.last_plain = Some(at);
        }
    }

    pub(crate) fn end(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::take(&mut state.line).is_empty() {
            eprintln!();
        }
    }
}
