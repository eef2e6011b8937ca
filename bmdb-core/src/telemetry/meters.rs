//! The metrics of a component, looked up once and counted without allocating.

use super::{
    CLAIM_DURATION, SESSION_LOST, SESSION_STARTED, TRANSACTION_DURATION, TRANSACTION_EXECUTED,
    TRANSACTION_FAILED, TRANSACTION_RETRIED, WORK_DURATION, WORK_FINISHED, WORK_HELD,
    WORK_HOST_FAILED, WORK_LOST, WORK_STARTED, WORK_UNPRODUCTIVE,
};
use crate::db::deadline::LeaseWatch;
use crate::lock::lock;
use bmdb_model::history::Outcome;
use bmdb_model::{Fence, Process, SessionId};
use metrics::{Counter, Gauge, Histogram, Label, SharedString, counter, gauge, histogram};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// How attempts end, as their caller sees it, with the value of the label `result`.
const RESULTS: [(Outcome, &str); 4] = [
    (Outcome::Finished, "finished"),
    (Outcome::Failed, "failed"),
    (Outcome::Canceled, "canceled"),
    (Outcome::Expired, "lost"),
];

pub(super) fn result_label(outcome: Outcome) -> &'static str {
    let result = RESULTS.iter().find(|(result, _)| *result == outcome);
    result.map_or("", |(_, label)| label)
}

/// The metrics of a component.
pub(crate) struct Meters {
    component: SharedString,
    pub(crate) session_started: Counter,
    pub(crate) session_lost: Counter,
    pub(crate) retried: Counter,
    executed: Counter,
    failed: Counter,
    duration: Histogram,
    /// The processes that were claimed here.
    processes: Mutex<HashMap<Process, Arc<ProcessMeters>>>,
    /// The claimed machines, to find those that are lost.
    claimed: Mutex<Claimed>,
}

/// Claimed machines by session and fence, each with its lease.
type Claimed = HashMap<(SessionId, Fence), (Arc<dyn LeaseWatch>, Arc<ProcessMeters>)>;

struct ProcessMeters {
    started: Counter,
    unproductive: Counter,
    host_failed: Counter,
    claims: Histogram,
    held: Gauge,
    lost: Gauge,
    /// In the order of [`RESULTS`].
    ended: [(Counter, Histogram); 4],
}

impl Meters {
    pub(crate) fn new(component: &str) -> Self {
        let component = SharedString::from(component.to_owned());
        let labels = labels_of(&component);
        let by = |name: &'static str| counter!(name, labels.iter());
        Self {
            session_started: by(SESSION_STARTED),
            session_lost: by(SESSION_LOST),
            retried: by(TRANSACTION_RETRIED),
            executed: by(TRANSACTION_EXECUTED),
            failed: by(TRANSACTION_FAILED),
            duration: histogram!(TRANSACTION_DURATION, labels.iter()),
            component,
            processes: Mutex::default(),
            claimed: Mutex::default(),
        }
    }

    /// The labels of every metric of the component.
    pub(super) fn labels(&self) -> Vec<Label> {
        labels_of(&self.component)
    }

    /// Counts a transaction with a closure.
    pub(crate) async fn transaction<T, E>(
        &self,
        run: impl Future<Output = Result<T, E>>,
        has_failed: impl FnOnce(&Result<T, E>) -> bool,
    ) -> Result<T, E> {
        self.executed.increment(1);
        let began = Instant::now();
        let ran = run.await;
        self.duration.record(began.elapsed());
        if has_failed(&ran) {
            self.failed.increment(1);
        }
        ran
    }

    /// Counts a claim.
    pub(crate) async fn claim<T, E>(
        &self,
        process: &Process,
        claim: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.executed.increment(1);
        let began = Instant::now();
        let claimed = claim.await;
        self.process(process).claims.record(began.elapsed());
        if claimed.is_err() {
            self.failed.increment(1);
        }
        claimed
    }

    /// Counts a work that has just been claimed.
    pub(crate) fn begin<L: LeaseWatch + 'static>(
        self: &Arc<Self>,
        process: &Process,
        fence: Fence,
        lease: &Arc<L>,
    ) -> WorkMeter {
        let of_process = self.process(process);
        of_process.started.increment(1);
        of_process.held.increment(1);
        let key = (lease.session(), fence);
        let lease: Arc<dyn LeaseWatch> = lease.clone();
        lock(&self.claimed).insert(key, (lease, of_process.clone()));
        WorkMeter {
            meters: self.clone(),
            of_process,
            key,
            began: Instant::now(),
            ended: false,
        }
    }

    /// Counts an attempt that failed because of the host.
    pub(crate) fn host_failed(&self, process: &Process) {
        self.process(process).host_failed.increment(1);
    }

    /// Sets how many claimed machines are lost, by process.
    pub(super) fn set_lost(&self) {
        let mut lost: HashMap<*const ProcessMeters, u32> = HashMap::new();
        for (lease, of_process) in lock(&self.claimed).values() {
            if lease.lost_since().is_some() {
                *lost.entry(Arc::as_ptr(of_process)).or_default() += 1;
            }
        }
        for of_process in lock(&self.processes).values() {
            let lost = lost.get(&Arc::as_ptr(of_process)).copied().unwrap_or(0);
            of_process.lost.set(lost);
        }
    }

    /// For a dropped component.
    pub(super) fn set_none_lost(&self) {
        for of_process in lock(&self.processes).values() {
            of_process.lost.set(0);
        }
    }

    fn process(&self, process: &Process) -> Arc<ProcessMeters> {
        if let Some(known) = lock(&self.processes).get(process) {
            return known.clone();
        }
        let fresh = Arc::new(ProcessMeters::new(&self.component, process));
        lock(&self.processes)
            .entry(process.clone())
            .or_insert(fresh)
            .clone()
    }
}

/// `processor` is the name of the original's label, kept beside `component` with the same value.
fn labels_of(component: &SharedString) -> Vec<Label> {
    ["component", "processor"]
        .map(|name| Label::new(name, component.clone()))
        .into()
}

impl ProcessMeters {
    fn new(component: &SharedString, process: &Process) -> Self {
        let mut labels = labels_of(component);
        labels.push(Label::new("process", process.as_str().to_owned()));
        let ended = RESULTS.map(|(_, label)| {
            let mut labels = labels.clone();
            labels.push(Label::new("result", label));
            let ended = counter!(WORK_FINISHED, labels.iter());
            (ended, histogram!(WORK_DURATION, labels.iter()))
        });
        Self {
            started: counter!(WORK_STARTED, labels.iter()),
            unproductive: counter!(WORK_UNPRODUCTIVE, labels.iter()),
            host_failed: counter!(WORK_HOST_FAILED, labels.iter()),
            claims: histogram!(CLAIM_DURATION, labels.iter()),
            held: gauge!(WORK_HELD, labels.iter()),
            lost: gauge!(WORK_LOST, labels.iter()),
            ended,
        }
    }
}

/// The metrics of a work in hand.
pub(crate) struct WorkMeter {
    meters: Arc<Meters>,
    of_process: Arc<ProcessMeters>,
    key: (SessionId, Fence),
    began: Instant,
    ended: bool,
}

impl WorkMeter {
    /// Counts a finish after which the machine rests.
    pub(crate) fn rests(&self) {
        self.of_process.unproductive.increment(1);
    }

    /// Counts the end; only the first call counts.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        lock(&self.meters.claimed).remove(&self.key);
        self.of_process.held.decrement(1);
        for ((result, _), (ended, duration)) in RESULTS.iter().zip(&self.of_process.ended) {
            if *result == outcome {
                ended.increment(1);
                duration.record(self.began.elapsed());
            }
        }
    }
}
