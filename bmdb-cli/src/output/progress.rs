//! Progress of a long command on standard error: a bar on a terminal, elsewhere a line every ten seconds.

use super::is_ascii;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Dropping it removes the bar from the terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    what: String,
    prints_lines: bool,
    printed_at: Instant,
}

impl Progress {
    pub(super) fn new(what: &str, steps: Option<u64>, silent: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let target = match terminal && !silent {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(steps, target).with_message(what.to_owned());
        let template = match steps {
            Some(_) => "{msg} {wide_bar} {human_pos}/{human_len} {eta}",
            None => "{spinner} {msg} {human_pos} {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(match is_ascii() {
                true => style.progress_chars("=> ").tick_chars("|/-\\ "),
                false => style,
            });
        }
        Self {
            what: what.to_owned(),
            // It is hidden on a dumb terminal too.
            prints_lines: !silent && bar.is_hidden(),
            printed_at: Instant::now(),
            bar,
        }
    }

    /// Sets the number of finished steps.
    pub(crate) fn set(&mut self, steps: u64) {
        self.bar.set_position(steps);
        if self.prints_lines && self.printed_at.elapsed() >= LINE_INTERVAL {
            self.printed_at = Instant::now();
            let all = self.bar.length();
            let all = all.map_or(String::new(), |all| format!(" of {all}"));
            // A closed standard error cannot be reported anywhere.
            let _ = writeln!(io::stderr(), "{} {steps}{all}", self.what);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
