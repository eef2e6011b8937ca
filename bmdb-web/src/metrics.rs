//! The metrics of a fleet: what the sample has counted, as Prometheus reads it.

pub(crate) mod server;

use crate::sample::{Latest, Sample};
use bmdb_core::telemetry::{Kind, Metric};
use bmdb_model::Process;
use bmdb_model::counts::ProcessCounts;
use std::fmt::Write;

/// A gauge, and where its values come from.
struct Stat {
    name: &'static str,
    help: &'static str,
    values: Values,
}

#[derive(Clone, Copy)]
enum Values {
    /// One for the fleet.
    Fleet(fn(&Sample) -> Option<i64>),
    /// One for each process.
    Processes(fn(&Sample, &ProcessCounts) -> Option<i64>),
    /// One of the sampler, whether it has a sample or not.
    Sampler(fn(&Latest) -> Option<f64>),
}

const fn fleet(name: &'static str, help: &'static str, of: fn(&Sample) -> Option<i64>) -> Stat {
    let values = Values::Fleet(of);
    Stat { name, help, values }
}

const fn processes(
    name: &'static str,
    help: &'static str,
    of: fn(&Sample, &ProcessCounts) -> Option<i64>,
) -> Stat {
    let values = Values::Processes(of);
    Stat { name, help, values }
}

const fn sampler(name: &'static str, help: &'static str, of: fn(&Latest) -> Option<f64>) -> Stat {
    let values = Values::Sampler(of);
    Stat { name, help, values }
}

/// The names that end in a noun of their own are those of the original system.
const STATS: [Stat; 21] = [
    fleet("bmdb_stats_machines", "Machines", |s| {
        Some(s.fleet.machines)
    }),
    fleet(
        "bmdb_stats_machines_provided",
        "Machines with the tag provided",
        |s| Some(s.fleet.provided),
    ),
    fleet("bmdb_stats_machines_on_hold", "Machines on hold", |s| {
        Some(s.fleet.on_hold)
    }),
    fleet(
        "bmdb_stats_machines_agent_started",
        "Machines with the tag agent_started",
        |s| Some(s.fleet.agent_started),
    ),
    fleet(
        "bmdb_stats_machines_heartbeating",
        "Machines whose agent sends heartbeats",
        |s| Some(s.fleet.heartbeating),
    ),
    fleet(
        "bmdb_stats_machines_pending_installation",
        "Machines whose request for an installation is not settled",
        |s| Some(s.fleet.installation_pending),
    ),
    fleet(
        "bmdb_stats_machines_installed",
        "Machines whose latest request for an installation is settled with success",
        |s| Some(s.fleet.installed),
    ),
    fleet(
        "bmdb_stats_machines_pending_agent_start",
        "Machines that ShepherdAgentStart could be claimed on now",
        |s| waiting(s, &Process::SHEPHERD_AGENT_START),
    ),
    fleet(
        "bmdb_stats_machines_pending_agent_recovery",
        "Machines that ShepherdRecovery could be claimed on now",
        |s| waiting(s, &Process::SHEPHERD_RECOVERY),
    ),
    fleet(
        "bmdb_stats_live_sessions",
        "Sessions whose deadline has not passed",
        |s| Some(s.fleet.live_sessions),
    ),
    fleet(
        "bmdb_stats_dead_sessions",
        "Sessions whose deadline has passed and that no janitor has removed yet",
        |s| Some(s.fleet.dead_sessions),
    ),
    processes("bmdb_stats_active_work", "Machines claimed", |_, p| {
        Some(p.claimed)
    }),
    processes("bmdb_stats_active_backoffs", "Backoffs in force", |_, p| {
        Some(p.backing_off)
    }),
    processes(
        "bmdb_stats_stuck_work",
        "Machines claimed for more than an hour",
        |_, p| Some(p.stuck),
    ),
    processes(
        "bmdb_stats_poisoned_work",
        "Machines on which the process is lost, or fails, again and again",
        |_, p| Some(p.poisoned),
    ),
    processes(
        "bmdb_stats_pending_work",
        "Machines that the process could be claimed on now; only of processes with a workflow",
        |s, p| waiting(s, &p.process),
    ),
    processes(
        "bmdb_stats_oldest_due_age_seconds",
        "For how long the machine that waits longest has been due; 0 when none waits; only of processes with a workflow",
        |s, p| Some(s.pending_for(&p.process)?.oldest_due_seconds.unwrap_or(0)),
    ),
    processes(
        "bmdb_stats_uncounted",
        "Whether what waits for the process could not be counted, for its workflow fails or takes too long: 1 or 0",
        |s, p| {
            Some(i64::from(
                s.uncounted.iter().any(|(process, _)| *process == p.process),
            ))
        },
    ),
    sampler(
        "bmdb_stats_sample_success",
        "Whether the last try to count the fleet came to an end, with every process: 1 or 0",
        |latest| {
            let is_whole = latest
                .sample
                .as_ref()
                .is_some_and(|s| s.uncounted.is_empty());
            Some(if is_whole && latest.error.is_none() {
                1.0
            } else {
                0.0
            })
        },
    ),
    sampler(
        "bmdb_stats_sample_age_seconds",
        "How old these counts of the fleet are; they come from the last try that came to an end",
        |latest| Some(latest.sample.as_ref()?.age().as_secs_f64()),
    ),
    sampler(
        "bmdb_stats_sample_duration_seconds",
        "How long it took to count the fleet",
        |latest| Some(latest.sample.as_ref()?.took.as_secs_f64()),
    ),
];

fn waiting(sample: &Sample, process: &Process) -> Option<i64> {
    Some(sample.pending_for(process)?.machines)
}

/// What `/metrics` shows beside the metrics of components ([`bmdb_core::telemetry::METRICS`]): the gauges
/// of the fleet, and the server's own.
pub fn console_metrics() -> impl Iterator<Item = Metric> {
    let stats = STATS.iter().map(|stat| {
        let labels: &[&str] = match stat.values {
            Values::Processes(_) => &["process"],
            Values::Fleet(_) | Values::Sampler(_) => &[],
        };
        Metric::new(stat.name, Kind::Gauge, labels, stat.help)
    });
    stats.chain(server::METRICS)
}

/// The gauges of the fleet in Prometheus's text format. A value that is not known is left out: zero would
/// be an answer.
pub(crate) fn render(latest: &Latest) -> String {
    let mut text = String::new();
    for stat in &STATS {
        let name = stat.name;
        let lines: Vec<String> = match (stat.values, &latest.sample) {
            (Values::Sampler(of), _) => of(latest)
                .map(|value| format!("{name} {value}"))
                .into_iter()
                .collect(),
            (_, None) => Vec::new(),
            (Values::Fleet(of), Some(sample)) => of(sample)
                .map(|value| format!("{name} {value}"))
                .into_iter()
                .collect(),
            // The name of a process needs no escapes: it consists of letters, digits, _ and -.
            (Values::Processes(of), Some(sample)) => {
                let values = sample.processes.iter().filter_map(|counts| {
                    let value = of(sample, counts)?;
                    Some(format!("{name}{{process=\"{}\"}} {value}", counts.process))
                });
                values.collect()
            }
        };
        if lines.is_empty() {
            continue;
        }
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} gauge", stat.help);
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}
