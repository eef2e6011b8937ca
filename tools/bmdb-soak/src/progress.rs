//! What a run prints on standard error while it goes on: events, and a line that is redrawn.

use std::io::{IsTerminal, Write, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Progress {
    terminal: bool,
    began: Instant,
    /// Without a terminal the line is printed this often.
    every: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    line: String,
    printed: Option<Instant>,
}

impl Progress {
    pub(crate) fn new(every: Duration) -> Self {
        Self {
            terminal: stderr().is_terminal(),
            began: Instant::now(),
            every,
            state: Mutex::default(),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn stamped(&self, message: &str) -> String {
        format!("{:6.1} s  {message}", self.elapsed().as_secs_f64())
    }

    /// Prints a line that stays.
    pub(crate) fn say(&self, message: &str) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        eprintln!("{clear}{}", self.stamped(message));
        if self.terminal {
            eprint!("{}", state.line);
            // A terminal that is gone shows nothing.
            let _ = stderr().flush();
        }
    }

    /// Redraws the line on a terminal; elsewhere prints it from time to time.
    pub(crate) fn show(&self, message: &str) {
        let line = self.stamped(message);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.terminal {
            eprint!("\r{line}\x1b[K");
            let _ = stderr().flush();
            state.line = line;
        } else if state.printed.is_none_or(|at| at.elapsed() >= self.every) {
            eprintln!("{line}");
            state.printed = Some(Instant::now());
        }
    }

    /// Leaves the redrawn line as it is and begins a new one.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::take(&mut state.line).is_empty() {
            eprintln!();
        }
    }
}
