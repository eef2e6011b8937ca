//! The metrics of a component, looked up once and counted without allocating.

use super::{
    CLAIM_DURATION, SESSION_LOST, SESSION_STARTED, TRANSACTION_DURATION, TRANSACTION_EXECUTED,
    TRANSACTION_FAILED, TRANSACTION_RETRIED, WORK_DURATION, WORK_FINISHED, WORK_HELD, WORK_LOST,
    WORK_STARTED,
};
use crate::session::lease::{Lease, SessionState};
use bmdb_model::history::Outcome;
use bmdb_model::{Fence, Process, SessionId};
use metrics::{Counter, Gauge, Histogram, SharedString, counter, gauge, histogram};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How attempts end, as their holder sees it, with the value of the label `result`.
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
    pub(super) processor: SharedString,
    pub(crate) session_started: Counter,
    pub(crate) session_lost: Counter,
    pub(crate) retried: Counter,
    executed: Counter,
    failed: Counter,
    duration: Histogram,
    /// Those that were claimed here.
    processes: Mutex<HashMap<Process, Arc<ProcessMeters>>>,
    /// The works in hand, for whoever asks which of them are lost.
    works: Mutex<Works>,
}

/// Works by what tells them apart, each with its lease.
type Works = HashMap<(SessionId, Fence), (Arc<Lease>, Arc<ProcessMeters>)>;

struct ProcessMeters {
    started: Counter,
    claims: Histogram,
    held: Gauge,
    lost: Gauge,
    /// In the order of [`RESULTS`].
    ended: [(Counter, Histogram); 4],
}

impl Meters {
    pub(crate) fn new(component: &str) -> Self {
        let processor = SharedString::from(component.to_owned());
        let by = |name: &'static str| counter!(name, "processor" => processor.clone());
        Self {
            session_started: by(SESSION_STARTED),
            session_lost: by(SESSION_LOST),
            retried: by(TRANSACTION_RETRIED),
            executed: by(TRANSACTION_EXECUTED),
            failed: by(TRANSACTION_FAILED),
            duration: histogram!(TRANSACTION_DURATION, "processor" => processor.clone()),
            processor,
            processes: Mutex::default(),
            works: Mutex::default(),
        }
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
    pub(crate) fn begin(
        self: &Arc<Self>,
        process: &Process,
        fence: Fence,
        lease: &Arc<Lease>,
    ) -> Held {
        let of_process = self.process(process);
        of_process.started.increment(1);
        of_process.held.increment(1);
        let key = (lease.session, fence);
        let work = (lease.clone(), of_process.clone());
        self.works().insert(key, work);
        Held {
            meters: self.clone(),
            of_process,
            key,
            began: Instant::now(),
            ended: false,
        }
    }

    /// Sets how many of the works in hand are lost, by process.
    pub(super) fn set_lost_works(&self) {
        let mut lost: HashMap<*const ProcessMeters, u32> = HashMap::new();
        for (lease, of_process) in self.works().values() {
            if lease.state() == SessionState::Lost {
                *lost.entry(Arc::as_ptr(of_process)).or_default() += 1;
            }
        }
        for of_process in self.processes().values() {
            let works = lost.get(&Arc::as_ptr(of_process)).copied().unwrap_or(0);
            of_process.lost.set(works);
        }
    }

    /// For a component that is gone.
    pub(super) fn set_no_lost_works(&self) {
        for of_process in self.processes().values() {
            of_process.lost.set(0);
        }
    }

    fn process(&self, process: &Process) -> Arc<ProcessMeters> {
        if let Some(known) = self.processes().get(process) {
            return known.clone();
        }
        let fresh = Arc::new(ProcessMeters::new(&self.processor, process));
        self.processes()
            .entry(process.clone())
            .or_insert(fresh)
            .clone()
    }

    // Nothing panics while these are held.

    fn processes(&self) -> MutexGuard<'_, HashMap<Process, Arc<ProcessMeters>>> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn works(&self) -> MutexGuard<'_, Works> {
        self.works.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProcessMeters {
    fn new(processor: &SharedString, process: &Process) -> Self {
        let process = SharedString::from(process.as_str().to_owned());
        let labels = [
            ("processor", processor.clone()),
            ("process", process.clone()),
        ];
        let ended = RESULTS.map(|(_, label)| {
            let labels = [
                ("processor", processor.clone()),
                ("process", process.clone()),
                ("result", SharedString::const_str(label)),
            ];
            let ended = counter!(WORK_FINISHED, &labels);
            (ended, histogram!(WORK_DURATION, &labels))
        });
        Self {
            started: counter!(WORK_STARTED, &labels),
            claims: histogram!(CLAIM_DURATION, &labels),
            held: gauge!(WORK_HELD, &labels),
            lost: gauge!(WORK_LOST, &labels),
            ended,
        }
    }
}

/// A work in hand, counted as ended once.
pub(crate) struct Held {
    meters: Arc<Meters>,
    of_process: Arc<ProcessMeters>,
    key: (SessionId, Fence),
    began: Instant,
    ended: bool,
}

impl Held {
    /// The first call counts.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.meters.works().remove(&self.key);
        self.of_process.held.decrement(1);
        for ((result, _), (ended, duration)) in RESULTS.iter().zip(&self.of_process.ended) {
            if *result == outcome {
                ended.increment(1);
                duration.record(self.began.elapsed());
            }
        }
    }
}
