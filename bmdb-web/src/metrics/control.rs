//! Gauges of limits, breakers and pauses. Processes that are switched off have none, so that no alert about
//! them fires.

use super::stat::{Line, Stat, Values, stat};
use crate::sample::Sample;
use bmdb_model::process_control::{PartitionNeed, PartitionUse, Pause, ProcessControl, SlotUse};

const PAUSE: &[&str] = &["process", "provider", "source"];

/// The provider is empty for a process as a whole, and for machines without a provider.
const PARTITION: &[&str] = &["process", "per", "provider"];

pub(super) const STATS: [Stat; 10] = [
    stat(
        "bmdb_process_paused",
        Values::Labeled(PAUSE, |sample| pauses(sample, |_| 1)),
        "1 while the process is paused, for a provider or (empty) for all; the source is Operator, Breaker or Attempt",
    ),
    stat(
        "bmdb_process_paused_seconds",
        Values::Labeled(PAUSE, |sample| {
            pauses(sample, |pause| {
                (sample.at - pause.since).num_seconds().max(0)
            })
        }),
        "For how long the process has been paused",
    ),
    stat(
        "bmdb_process_running",
        Values::Labeled(PARTITION, |sample| {
            slots(sample, |p| p.running, |used| used.taken)
        }),
        "Machines that the process has claimed, where a limit counts them",
    ),
    stat(
        "bmdb_process_running_limit",
        Values::Labeled(PARTITION, |sample| {
            slots(sample, |p| p.running, |used| used.maximum)
        }),
        "How many machines the process may have claimed at once",
    ),
    stat(
        "bmdb_process_starts",
        Values::Labeled(PARTITION, |sample| {
            slots(sample, |p| p.starts, |used| used.taken)
        }),
        "Attempts that the process has started within the window of its limit",
    ),
    stat(
        "bmdb_process_starts_limit",
        Values::Labeled(PARTITION, |sample| {
            slots(sample, |p| p.starts, |used| used.maximum)
        }),
        "How many attempts the process may start within the window of its limit",
    ),
    stat(
        "bmdb_breaker_due",
        Values::Labeled(PARTITION, |sample| breakers(sample, |_, need| need.due)),
        "Machines that needed the process at once when its breaker last counted them",
    ),
    stat(
        "bmdb_breaker_population",
        Values::Labeled(PARTITION, |sample| {
            breakers(sample, |_, need| need.population)
        }),
        "Of how many machines the breaker counted those that needed the process",
    ),
    stat(
        "bmdb_breaker_threshold",
        Values::Labeled(PARTITION, |sample| {
            breakers(sample, |_, need| need.threshold)
        }),
        "More machines than this trip the breaker",
    ),
    stat(
        "bmdb_breaker_open",
        Values::Labeled(PARTITION, |sample| {
            breakers(sample, |control, partition| {
                Some(control.is_tripped_for(partition).into())
            })
        }),
        "1 while the breaker has stopped the process, otherwise 0",
    ),
];

fn pauses(sample: &Sample, value: impl Fn(&Pause) -> i64) -> Vec<Line> {
    let pauses = sample.controls_in_use().flat_map(|control| &control.pauses);
    let line = |pause: &Pause| Line {
        labels: vec![
            pause.process.to_string(),
            pause
                .provider
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            pause.source.to_string(),
        ],
        value: value(pause),
    };
    pauses.map(line).collect()
}

fn slots(
    sample: &Sample,
    kind: impl Fn(&PartitionUse) -> Option<SlotUse>,
    value: impl Fn(SlotUse) -> i64,
) -> Vec<Line> {
    let limits = sample.controls_in_use().flat_map(|control| &control.limits);
    let lines = limits.flat_map(|limit| {
        let partitions = limit.partitions.iter().filter_map(|partition| {
            let labels = vec![
                limit.process.to_string(),
                limit.limit.per.to_string(),
                partition.name.clone(),
            ];
            Some(Line {
                labels,
                value: value(kind(partition)?),
            })
        });
        partitions.collect::<Vec<_>>()
    });
    lines.collect()
}

fn breakers(
    sample: &Sample,
    value: impl Fn(&ProcessControl, &PartitionNeed) -> Option<i64>,
) -> Vec<Line> {
    let mut lines = Vec::new();
    for control in sample.controls_in_use() {
        for state in &control.breakers {
            let values = state.partitions.iter().filter_map(|partition| {
                let labels = vec![
                    control.process.to_string(),
                    state.breaker.per.to_string(),
                    partition.name.clone(),
                ];
                Some(Line {
                    labels,
                    value: value(control, partition)?,
                })
            });
            lines.extend(values);
        }
    }
    lines
}
