//! Progress of something long: a bar on a terminal, a line now and then elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a line is printed where there is no terminal.
const PAUSE: Duration = Duration::from_secs(10);

/// On standard error. It vanishes from a terminal when it is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    what: String,
    lines: bool,
    told: Instant,
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
            bar.set_style(style);
        }
        Self {
            bar,
            what: what.to_owned(),
            lines: !terminal && !silent,
            told: Instant::now(),
        }
    }

    /// So many steps are done.
    pub(crate) fn set(&mut self, steps: u64) {
        self.bar.set_position(steps);
        if self.lines && self.told.elapsed() >= PAUSE {
            self.told = Instant::now();
            let of = self
                .bar
                .length()
                .map_or(String::new(), |all| format!(" of {all}"));
            // Nobody is left to tell.
            let _ = writeln!(io::stderr(), "{} {steps}{of}", self.what);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
