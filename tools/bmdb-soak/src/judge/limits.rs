//! Limits: whether more ran at once, or started within a window, than a limit said at that time.
//!
//! Reads the log of attempts and the run's own log of limits; the slots by which the database enforces
//! limits are not looked at.

use super::attempt::Attempt;
use super::facts::Facts;
use super::invariant::{Breach, Invariant};
use crate::failure::Done;
use bmdb_model::history::Outcome;
use bmdb_model::{Fence, MachineId};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use tokio_postgres::Client;

/// What was logged about limits. Times are microseconds since the epoch.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// By process and kind of partition, in the order in which they were in force.
    eras: BTreeMap<(String, String), Vec<Era>>,
    providers: HashMap<MachineId, String>,
    /// When each claim had its slots.
    started: HashMap<Fence, i64>,
}

/// A limit, from a time on.
#[derive(Debug)]
struct Era {
    since: i64,
    /// Since when there has been a limit, with these or other values.
    limited_since: i64,
    max_running: Option<i32>,
    max_starts: Option<i32>,
    /// In microseconds.
    window: i64,
}

/// An attempt as limits see it.
#[derive(Debug, Clone, Copy)]
struct Span {
    started: i64,
    ended: i64,
    fence: Fence,
}

const ERAS: &str = "
    SELECT process, per, max_running, max_starts, coalesce(window_seconds, 0)::bigint * 1000000,
           (extract(epoch FROM since) * 1000000)::bigint
    FROM limit_log ORDER BY id";

const PROVIDERS: &str = "SELECT machine_id::text, provider FROM machine_provided";

const STARTS: &str =
    "SELECT fence, (extract(epoch FROM started_at) * 1000000)::bigint FROM start_log";

impl Limits {
    pub(super) async fn read(client: &Client) -> Done<Self> {
        let mut limits = Self::default();
        for row in client.query(ERAS, &[]).await? {
            let eras = limits.eras.entry((row.get(0), row.get(1))).or_default();
            let since = row.get(5);
            let limited_since = match eras.last() {
                Some(last) if last.is_limit() => last.limited_since,
                _ => since,
            };
            eras.push(Era {
                since,
                limited_since,
                max_running: row.get(2),
                max_starts: row.get(3),
                window: row.get(4),
            });
        }
        for row in client.query(PROVIDERS, &[]).await? {
            let machine = row.get::<_, &str>(0).parse()?;
            limits.providers.insert(machine, row.get(1));
        }
        for row in client.query(STARTS, &[]).await? {
            limits.started.insert(Fence::new(row.get(0)), row.get(1));
        }
        Ok(limits)
    }

    pub(super) fn check<'a>(
        &self,
        attempts: impl Iterator<Item = &'a Attempt> + Clone,
        facts: &Facts,
    ) -> Vec<Breach> {
        let mut breaches = Vec::new();
        for ((process, per), eras) in &self.eras {
            let mut partitions: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
            for attempt in attempts.clone().filter(|a| a.process.as_str() == process) {
                let provider = self.providers.get(&attempt.machine);
                let partition = match per.as_str() {
                    "provider" => provider.map_or("", String::as_str),
                    _ => "",
                };
                let span = self.span(attempt, facts);
                partitions.entry(partition).or_default().push(span);
            }
            for (partition, mut spans) in partitions {
                spans.sort_unstable_by_key(|span| span.started);
                let of = format!("{process} per {per} {partition:?}");
                check_running(&of, eras, &spans, &mut breaches);
                check_starts(&of, eras, &spans, &mut breaches);
            }
        }
        breaches
    }

    /// The start that a worker was answered is when the attempt had its slots and its lane. An attempt that
    /// no worker ended is recorded with the time before that.
    fn span(&self, attempt: &Attempt, facts: &Facts) -> Span {
        let answered = facts.claim(attempt.fence).map(|claim| claim.started);
        let logged = self.started.get(&attempt.fence).copied();
        let started = match attempt.outcome {
            Outcome::Finished | Outcome::Failed => attempt.started,
            _ => answered.or(logged).unwrap_or(attempt.started),
        };
        Span {
            started: started.max(attempt.started),
            ended: attempt.ended,
            fence: attempt.fence,
        }
    }
}

impl Era {
    fn is_limit(&self) -> bool {
        self.max_running.is_some() || self.max_starts.is_some()
    }
}

/// The limit in force at a time.
fn at(eras: &[Era], time: i64) -> Option<&Era> {
    let after = eras.partition_point(|era| era.since <= time);
    eras[..after].last()
}

/// With each start, no more run than the limit says. Without a start nothing can exceed it; and after a
/// limit was lowered, more may go on until they end.
fn check_running(of: &str, eras: &[Era], spans: &[Span], breaches: &mut Vec<Breach>) {
    let mut running = BinaryHeap::new();
    for span in spans {
        while running
            .peek()
            .is_some_and(|Reverse(ended)| *ended <= span.started)
        {
            running.pop();
        }
        running.push(Reverse(span.ended));
        let maximum = at(eras, span.started).and_then(|era| era.max_running);
        report(of, span, running.len(), maximum, "ran at once", breaches);
    }
}

/// With each start, no more started within the window that ends with it.
fn check_starts(of: &str, eras: &[Era], spans: &[Span], breaches: &mut Vec<Breach>) {
    for (index, span) in spans.iter().enumerate() {
        let Some(era) = at(eras, span.started) else {
            continue;
        };
        // A new limit knows of the starts before it only what is still claimed.
        let from = (span.started - era.window).max(era.limited_since);
        let first = spans.partition_point(|earlier| earlier.started <= from);
        let starts = (index + 1).saturating_sub(first);
        let what = "started within the window";
        report(of, span, starts, era.max_starts, what, breaches);
    }
}

fn report(
    of: &str,
    span: &Span,
    count: usize,
    maximum: Option<i32>,
    what: &str,
    breaches: &mut Vec<Breach>,
) {
    let Some(maximum) = maximum.and_then(|maximum| usize::try_from(maximum).ok()) else {
        return;
    };
    if count > maximum {
        breaches.push(Breach {
            invariant: Invariant::Limit,
            what: format!(
                "{of}: with the start of fence {} {count} {what}, more than {maximum}",
                span.fence
            ),
        });
    }
}
