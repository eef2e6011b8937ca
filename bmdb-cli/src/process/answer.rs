//! What is said of processes, in answers.

use crate::output::{Page, Text, Time, answer};
use bmdb_model::plan::PlanFailure;
use bmdb_model::process_control::{
    Breaker, BreakerState, Limit, LimitState, PartitionNeed, PartitionUse, Pause, PauseSource, Per,
    ProcessControl, SlotUse,
};
use bmdb_model::{Lane, Process, Provider};
use serde::Serialize;

/// A process in `list` and `show`.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    pub(super) process: Text<Process>,
    pub(super) lane: Text<Lane>,
    /// `on`, `off`, `not plannable`, or `none` without a workflow.
    pub(super) state: &'static str,
    /// The workflow that is in force, or that is while the process is on.
    pub(super) workflow: Option<String>,
    /// Why its workflow cannot be planned.
    pub(super) not_plannable: Option<String>,
    pub(super) claimed: i64,
    pub(super) limits: Vec<LimitAnswer>,
    pub(super) breakers: Vec<BreakerAnswer>,
    pub(super) pauses: Vec<PauseAnswer>,
}

impl Listed {
    pub(super) fn of(control: ProcessControl, failures: &[PlanFailure]) -> Self {
        let failure = failures
            .iter()
            .find(|failure| failure.broken.process == control.process);
        let state = match (&control.workflow, &control.off_workflow, failure) {
            (_, Some(_), _) => "off",
            (None, None, _) => "none",
            (Some(_), None, Some(_)) => "not plannable",
            (Some(_), None, None) => "on",
        };
        Self {
            process: Text(control.process),
            lane: Text(control.lane),
            state,
            workflow: control.workflow.or(control.off_workflow),
            not_plannable: failure.map(|failure| failure.broken.to_string()),
            claimed: control.claimed,
            limits: control.limits.into_iter().map(LimitAnswer::from).collect(),
            breakers: control
                .breakers
                .into_iter()
                .map(BreakerAnswer::from)
                .collect(),
            pauses: control.pauses.into_iter().map(PauseAnswer::from).collect(),
        }
    }
}

answer! {
    pub(super) struct LimitAnswer from state: LimitState {
        #[serde(flatten)]
        pub(super) limit: LimitValues = LimitValues::from(state.limit),
        pub(super) partitions: Vec<Used> = state.partitions.into_iter().map(Used::from).collect(),
    }
}

answer! {
    pub(super) struct LimitValues from limit: Limit {
        #[serde(skip)]
        pub(super) text: String = limit.to_string(),
        pub(super) per: Text<Per> = Text(limit.per),
        pub(super) max_running: Option<i64> = limit.max_running,
        pub(super) max_starts: Option<i64> = limit.max_starts.map(|starts| starts.count),
        pub(super) window_seconds: Option<i64> = limit.max_starts.map(|starts| starts.window_seconds),
    }
}

answer! {
    pub(super) struct Used from used: PartitionUse {
        /// The provider; empty for the whole process and for machines without a provider.
        pub(super) partition: String = used.name,
        pub(super) running: Option<Slots> = used.running.map(Slots::from),
        pub(super) starts: Option<Slots> = used.starts.map(Slots::from),
    }
}

answer! {
    pub(super) struct Slots from used: SlotUse {
        pub(super) taken: i64 = used.taken,
        pub(super) maximum: i64 = used.maximum,
        pub(super) opens_at: Option<Time> = used.opens_at.map(Time),
    }
}

answer! {
    pub(super) struct BreakerAnswer from state: BreakerState {
        #[serde(flatten)]
        pub(super) breaker: BreakerValues = BreakerValues::from(state.breaker),
        pub(super) partitions: Vec<Needs> = state.partitions.into_iter().map(Needs::from).collect(),
    }
}

answer! {
    pub(super) struct BreakerValues from breaker: Breaker {
        #[serde(skip)]
        pub(super) text: String = breaker.to_string(),
        pub(super) per: Text<Per> = Text(breaker.per),
        pub(super) max_due: Option<i64> = breaker.max_due,
        pub(super) max_due_percent: Option<String> = breaker.max_due_percent.map(|share| {
            share.to_string().trim_end_matches('%').to_owned()
        }),
        pub(super) max_failures: Option<i64> = breaker.max_failures.map(|failures| failures.count),
        pub(super) window_seconds: Option<i64> = breaker.max_failures.map(|failures| failures.window_seconds),
        pub(super) resume_after_seconds: Option<i64> = breaker.resume_after_seconds,
    }
}

answer! {
    pub(super) struct Needs from need: PartitionNeed {
        pub(super) partition: String = need.name,
        /// How many machines needed the process at the last count.
        pub(super) due: Option<i64> = need.due,
        pub(super) population: Option<i64> = need.population,
        pub(super) threshold: Option<i64> = need.threshold,
        pub(super) evaluated_at: Option<Time> = need.evaluated_at.map(Time),
        pub(super) disarmed: bool = need.disarmed,
        pub(super) failures: i64 = need.failures,
    }
}

answer! {
    pub(super) struct PauseAnswer from pause: Pause {
        pub(super) provider: Option<Text<Provider>> = pause.provider.map(Text),
        pub(super) since: Time = Time(pause.since),
        pub(super) until: Option<Time> = pause.until.map(Time),
        pub(super) source: Text<PauseSource> = Text(pause.source),
        pub(super) paused_by: String = pause.paused_by,
        pub(super) reason: String = pause.reason,
        pub(super) stop_running: bool = pause.stop_running,
    }
}

impl PauseAnswer {
    pub(super) fn whose(&self) -> String {
        match &self.provider {
            None => "all machines".to_owned(),
            Some(provider) => format!("machines of {provider}"),
        }
    }

    /// `all machines, by ann until resumed: a switch is replaced`.
    pub(super) fn sentence(&self) -> String {
        let until = match self.until {
            None => "until resumed".to_owned(),
            Some(until) => format!("until {until}"),
        };
        let stopped = if self.stop_running {
            ", stopping what runs"
        } else {
            ""
        };
        format!(
            "{}, by {} {until}{stopped}: {}",
            self.whose(),
            self.paused_by,
            self.reason
        )
    }
}

/// Prints what is in force for a process now and what was before, each with what it is per.
pub(super) fn show_change(
    page: &mut Page,
    process: &Text<Process>,
    now: Option<(String, String)>,
    before: Option<(String, String)>,
    nothing: &str,
) {
    let per = now.as_ref().or(before.as_ref());
    let per = per.map(|(per, _)| per.clone()).unwrap_or_default();
    let text =
        |what: Option<(String, String)>| what.map_or_else(|| nothing.to_owned(), |(_, text)| text);
    let (now, before) = (text(now), text(before));
    page.line(format_args!(
        "{process} per {per}: {now} (before: {before})"
    ));
}
