//! What happened in the demonstration, and what should have.

use serde_json::json;

/// The shipped limits of recovery, for each provider: the machines have one.
pub(super) const MOST_STARTS: usize = 10;
const MOST_RUNNING: usize = 5;

#[derive(Debug, Clone, Default)]
pub(super) struct Findings {
    pub(super) machines: usize,
    /// How many machines are 3 %.
    pub(super) few: usize,
    /// Reboots after the gateway was down.
    pub(super) unheard: usize,
    /// Reboots after all agents fell silent, until somebody resumed.
    pub(super) silent: usize,
    /// Whether the breaker had tripped then.
    pub(super) paused: bool,
    /// Reboots since somebody resumed, at the end of each window.
    pub(super) resumed: [usize; 2],
    /// Reboots after a few fell silent, and after how many minutes the last of them was.
    pub(super) recovered: usize,
    pub(super) minutes: usize,
    /// Whether the breaker had tripped in the end.
    pub(super) stopped: bool,
    /// In ten minutes, and at once.
    pub(super) most_starts: usize,
    pub(super) most_running: usize,
}

impl Findings {
    /// What is wrong, if anything.
    pub(super) fn wrong(&self) -> Vec<String> {
        let [first, second] = self.resumed;
        let numbers = [
            ("reboots after the gateway was down", self.unheard, 0),
            ("reboots before somebody resumed", self.silent, 0),
            ("reboots in the first window", first, MOST_STARTS),
            ("reboots in two windows", second, 2 * MOST_STARTS),
            ("reboots of 3 %", self.recovered, self.few),
        ];
        let mut wrong: Vec<String> = numbers
            .iter()
            .filter(|(_, found, expected)| found != expected)
            .map(|(what, found, expected)| format!("{what}: {found}, expected {expected}"))
            .collect();
        if !self.paused {
            wrong.push("the breaker did not trip although all agents were silent".to_owned());
        }
        if self.stopped {
            wrong.push("the breaker tripped although 3 % of the agents were silent".to_owned());
        }
        if self.most_starts > MOST_STARTS || self.most_running > MOST_RUNNING {
            wrong.push(format!(
                "{} reboots within ten minutes and {} at once: more than {MOST_STARTS} and {MOST_RUNNING}",
                self.most_starts, self.most_running
            ));
        }
        wrong
    }

    pub(super) fn print(&self, json: bool) {
        let wrong = self.wrong();
        let lines = wrong.iter().map(|wrong| format!("WRONG: {wrong}"));
        for line in lines.chain([self.line()]) {
            println!("{line}");
        }
        if json {
            println!("{}", self.json(&wrong));
        }
    }

    fn line(&self) -> String {
        format!(
            "\n{} reboots while nobody listened; {} of {} silent machines until somebody resumed, then {} and {} \
             after ten minutes more; {} of {} (3 %) without anybody, in {} minutes; never more than {} in ten \
             minutes, {} at once.",
            self.unheard,
            self.silent,
            self.machines,
            self.resumed[0],
            self.resumed[1],
            self.recovered,
            self.few,
            self.minutes,
            self.most_starts,
            self.most_running
        )
    }

    fn json(&self, wrong: &[String]) -> serde_json::Value {
        json!({
            "ok": wrong.is_empty(),
            "wrong": wrong,
            "machines": self.machines,
            "reboots_while_nobody_listened": self.unheard,
            "reboots_until_resumed": self.silent,
            "reboots_since_resumed": self.resumed,
            "reboots_of_3_percent": self.recovered,
            "minutes_for_3_percent": self.minutes,
            "most_within_ten_minutes": self.most_starts,
            "most_at_once": self.most_running,
        })
    }
}
