//! Metrics of the fleet: the latest sample in Prometheus's text format.

mod control;
pub(crate) mod server;
mod stat;

use crate::sample::Sample;
use crate::sampler::Latest;
use bmdb_core::telemetry::{Kind, Metric};
use bmdb_model::Process;
use bmdb_model::agent::ProviderAgents;
use bmdb_model::text::{escape, is_invisible};
use stat::{Line, Stat, Values, stat};
use std::fmt::Write;

const PROVIDER: &[&str] = &["provider"];

/// One for each provider whose machines have agents.
fn agents(sample: &Sample, of: impl Fn(&ProviderAgents) -> Option<i64>) -> Vec<Line> {
    let with_agents = sample.agents.iter().filter(|of| of.agents > 0);
    let line = |agents: &ProviderAgents| {
        let labels = vec![agents.listening.provider.to_string()];
        of(agents).map(|value| Line { labels, value })
    };
    with_agents.filter_map(line).collect()
}

/// Names without a unit are those of the original system.
const STATS: [Stat; 26] = [
    stat(
        "bmdb_stats_machines",
        Values::Fleet(|s| Some(s.fleet.machines)),
        "Machines",
    ),
    stat(
        "bmdb_stats_machines_provided",
        Values::Fleet(|s| Some(s.fleet.provided)),
        "Machines with the tag provided",
    ),
    stat(
        "bmdb_stats_machines_on_hold",
        Values::Fleet(|s| Some(s.fleet.on_hold)),
        "Machines on hold",
    ),
    stat(
        "bmdb_stats_machines_agent_started",
        Values::Fleet(|s| Some(s.fleet.agent_started)),
        "Machines with the tag agent_started",
    ),
    stat(
        "bmdb_stats_machines_heartbeating",
        Values::Fleet(|s| Some(s.fleet.heartbeating)),
        "Machines whose agent sends heartbeats",
    ),
    stat(
        "bmdb_stats_machines_pending_installation",
        Values::Fleet(|s| Some(s.fleet.installation_pending)),
        "Machines with a pending installation request",
    ),
    stat(
        "bmdb_stats_machines_installed",
        Values::Fleet(|s| Some(s.fleet.installed)),
        "Machines whose latest installation request succeeded",
    ),
    stat(
        "bmdb_stats_machines_pending_agent_start",
        Values::Fleet(|s| pending(s, &Process::SHEPHERD_AGENT_START)),
        "Machines that are due for ShepherdAgentStart",
    ),
    stat(
        "bmdb_stats_machines_pending_agent_recovery",
        Values::Fleet(|s| pending(s, &Process::SHEPHERD_RECOVERY)),
        "Machines that are due for ShepherdRecovery",
    ),
    stat(
        "bmdb_stats_live_sessions",
        Values::Fleet(|s| Some(s.fleet.live_sessions)),
        "Sessions whose deadline has not passed",
    ),
    stat(
        "bmdb_stats_dead_sessions",
        Values::Fleet(|s| Some(s.fleet.dead_sessions)),
        "Expired sessions that no janitor has removed yet",
    ),
    stat(
        "bmdb_stats_active_work",
        Values::Processes(|_, p| Some(p.claimed)),
        "Machines claimed",
    ),
    stat(
        "bmdb_stats_active_backoffs",
        Values::Processes(|_, p| Some(p.backing_off)),
        "Backoffs in force",
    ),
    stat(
        "bmdb_stats_stuck_work",
        Values::Processes(|_, p| Some(p.stuck)),
        "Machines claimed for more than an hour",
    ),
    stat(
        "bmdb_stats_poisoned_work",
        Values::Processes(|s, p| (!s.is_off(&p.process)).then_some(p.poisoned)),
        "Machines on which attempts of the process fail or expire again and again, without those on hold",
    ),
    stat(
        "bmdb_stats_failing_work",
        Values::Processes(|_, p| Some(p.failing)),
        "Machines whose last attempt failed, and that back off or are due again",
    ),
    stat(
        "bmdb_resting",
        Values::Processes(|_, p| Some(p.resting)),
        "Machines that back off although the process succeeds: it leaves them due, or is needed again at once",
    ),
    stat(
        "bmdb_plan_failing",
        Values::Processes(|s, p| {
            let is_failing = s.is_plan_failing(&p.process);
            (!s.is_off(&p.process)).then_some(i64::from(is_failing))
        }),
        "1 if the workflow of the process fails when machines are planned, otherwise 0",
    ),
    stat(
        "bmdb_stats_pending_work",
        Values::Processes(|s, p| pending(s, &p.process)),
        "Machines that are due for the process, those included that a limit or a pause keeps from being claimed; only for processes with a workflow",
    ),
    stat(
        "bmdb_stats_oldest_due_age_seconds",
        Values::Processes(|s, p| Some(s.pending_for(&p.process)?.oldest_due_seconds.unwrap_or(0))),
        "How long the oldest due machine has been due that no pause keeps from being claimed, or 0; only for processes with a workflow",
    ),
    stat(
        "bmdb_stats_uncounted",
        Values::Processes(|s, p| Some(i64::from(s.is_uncounted(&p.process)))),
        "1 if the workflow of the process fails or takes too long to count, otherwise 0",
    ),
    stat(
        "bmdb_agents_listened",
        Values::Labeled(PROVIDER, |sample| {
            agents(sample, |of| {
                (!of.listening.assumed).then_some(of.listening.listened.into())
            })
        }),
        "1 if somebody listens to the agents of the provider, otherwise 0; only for providers with agents, \
         and not where an operator lets silence count",
    ),
    stat(
        "bmdb_agents_listened_seconds",
        Values::Labeled(PROVIDER, |sample| {
            agents(sample, |of| {
                let since = of.listening.since;
                Some(since.map_or(0, |since| (sample.at - since).num_seconds().max(0)))
            })
        }),
        "For how long the agents of the provider have been listened to without a gap, or 0 while nobody listens",
    ),
    stat(
        "bmdb_stats_sample_success",
        Values::Sampler(|latest| {
            let sample = latest.sample.as_ref();
            let is_complete = sample.is_some_and(|s| s.uncounted.is_empty());
            Some(f64::from(is_complete && latest.error.is_none()))
        }),
        "1 if the last sample of the fleet counted every process, otherwise 0",
    ),
    stat(
        "bmdb_stats_sample_age_seconds",
        Values::Sampler(|latest| Some(latest.sample.as_ref()?.age().as_secs_f64())),
        "Age of the last sample that succeeded, which all counts are from",
    ),
    stat(
        "bmdb_stats_sample_duration_seconds",
        Values::Sampler(|latest| Some(latest.sample.as_ref()?.took.as_secs_f64())),
        "How long the last sample that succeeded took",
    ),
];

fn pending(sample: &Sample, process: &Process) -> Option<i64> {
    Some(sample.pending_for(process)?.machines)
}

/// The metrics that `/metrics` shows beside those of components ([`bmdb_core::telemetry::METRICS`]): the
/// gauges of the fleet, and the metrics of the server.
pub fn console_metrics() -> impl Iterator<Item = Metric> {
    let stats = STATS.iter().chain(&control::STATS).map(|stat| {
        let labels: &[&str] = match stat.values {
            Values::Processes(_) => &["process"],
            Values::Labeled(labels, _) => labels,
            Values::Fleet(_) | Values::Sampler(_) => &[],
        };
        Metric::new(stat.name, Kind::Gauge, labels, stat.help)
    });
    stats.chain(server::METRICS)
}

/// Unknown values are left out, because 0 would be wrong.
/// The text of metrics with everything invisible escaped. It only occurs in the values of labels, where a
/// backslash is written as two.
pub(crate) fn escape_values(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c != '\n' && is_invisible(c) {
            true => escaped += &escape(c.encode_utf8(&mut [0; 4])).replace('\\', "\\\\"),
            false => escaped.push(c),
        }
    }
    escaped
}

pub(crate) fn render(latest: &Latest) -> String {
    let mut text = String::new();
    for stat in STATS.iter().chain(&control::STATS) {
        let lines = lines(stat, latest);
        if !lines.is_empty() {
            let Stat { name, help, .. } = stat;
            // Writing to a string cannot fail.
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{lines}");
        }
    }
    text
}

fn lines(stat: &Stat, latest: &Latest) -> String {
    let name = stat.name;
    let one = |value: Option<String>| value.map(|value| format!("{name} {value}\n"));
    match (stat.values, &latest.sample) {
        (Values::Sampler(of), _) => {
            one(of(latest).map(|value| value.to_string())).unwrap_or_default()
        }
        (_, None) => String::new(),
        (Values::Fleet(of), Some(sample)) => {
            one(of(sample).map(|value| value.to_string())).unwrap_or_default()
        }
        (Values::Labeled(labels, of), Some(sample)) => {
            let lines = of(sample).into_iter().map(|line| line.render(name, labels));
            lines.collect()
        }
        // Names of processes need no escapes: they consist of letters, digits, _ and -.
        (Values::Processes(of), Some(sample)) => {
            let values = sample.processes.iter().filter_map(|counts| {
                let value = of(sample, counts)?;
                Some(format!(
                    "{name}{{process=\"{}\"}} {value}\n",
                    counts.process
                ))
            });
            values.collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::escape_values;

    #[test]
    fn the_value_of_a_label_is_escaped_as_prometheus_expects() {
        let metrics = "a{b=\"c\u{202e}\u{7f}\\n\"} 1\n";
        assert_eq!(
            escape_values(metrics),
            "a{b=\"c\\\\u{202e}\\\\u{7f}\\n\"} 1\n"
        );
    }
}
