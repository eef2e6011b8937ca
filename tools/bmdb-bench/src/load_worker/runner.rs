//! Runner of the load: the library's own control loop.

use crate::Error;
use crate::ends::{BACKOFF, CAUSE, End, started};
use crate::measured::Measured;
use crate::workers::Until;
use bmdb_backoff::Backoff;
use bmdb_core::control_loop::{
    Commit, ControlLoop, Event, Failure, LoopOptions, Machine, Outcome, Runner, Shutdown,
};
use bmdb_core::{Bmdb, Work};
use bmdb_model::{Process, Provider};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Machines claimed and ended by a loop with this many at once.
pub(crate) async fn runner(
    bmdb: &Bmdb,
    end: End,
    workers: u32,
    until: Until,
) -> Result<Measured, Error> {
    // Warm up: open the connections and prepare the statements. A failed machine would come back later than
    // all others, so a warm-up that retries would go through the whole fleet.
    let warm_up = match end {
        End::Retry => End::Tags,
        End::Fail | End::Tags | End::Closure => end,
    };
    run(bmdb, warm_up, workers, Until::Machines(workers.into())).await?;
    run(bmdb, end, workers, until).await
}

async fn run(bmdb: &Bmdb, end: End, workers: u32, until: Until) -> Result<Measured, Error> {
    let shutdown = match until {
        Until::Time(time) => Shutdown::when(tokio::time::sleep(time)),
        Until::Machines(_) => Shutdown::new(),
    };
    let progress = Arc::new(Progress {
        until,
        shutdown: shutdown.clone(),
        began: OnceLock::new(),
        nanoseconds: AtomicU64::new(0),
        machines: AtomicU64::new(0),
    });
    let control = Starter {
        end,
        progress: progress.clone(),
    };
    // The default rate suits machines that take minutes.
    let options = LoopOptions::default().parallelism(workers).rate(None);
    let summary = Runner::new(bmdb, control).options(options).run(shutdown);
    let summary = summary.await?;
    if summary.lost + summary.canceled + summary.unproductive > 0 {
        return Err(format!("not every attempt ended as it should: {summary}").into());
    }
    Ok(Measured {
        time: Duration::from_nanos(progress.nanoseconds.load(Ordering::Relaxed)),
        machines: progress.machines.load(Ordering::Relaxed),
        ..Measured::default()
    })
}

/// What a loop has done so far.
struct Progress {
    until: Until,
    shutdown: Shutdown,
    /// When the first attempt started.
    began: OnceLock<Instant>,
    /// From then to the last end.
    nanoseconds: AtomicU64,
    machines: AtomicU64,
}

impl Progress {
    fn ended(&self, is_done: bool) {
        let began = self.began.get_or_init(Instant::now);
        let passed = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_max(passed, Ordering::Relaxed);
        let machines = self
            .machines
            .fetch_add(u64::from(is_done), Ordering::Relaxed);
        match self.until {
            Until::Machines(most) if machines + u64::from(is_done) >= most => {
                self.shutdown.request();
            }
            Until::Machines(_) | Until::Time(_) => {}
        }
    }
}

struct Starter {
    end: End,
    progress: Arc<Progress>,
}

impl ControlLoop for Starter {
    fn workflow(&self) -> Process {
        Process::SHEPHERD_AGENT_START
    }

    fn providers(&self) -> Vec<Provider> {
        vec![Provider::EQUINIX]
    }

    fn backoff(&self) -> Backoff {
        BACKOFF
    }

    async fn process(&self, work: &Work, machine: &Machine) -> Result<Commit, Failure> {
        let (id, started) = (machine.id, started(machine.id));
        match self.end {
            End::Retry if work.failures() == 0 => Err(CAUSE.into()),
            End::Fail => Err(CAUSE.into()),
            End::Tags | End::Retry => Ok(Commit::agent_started(started)),
            End::Closure => Ok(Commit::tags(async move |tx| {
                tx.set_agent_started(id, &started).await
            })),
        }
    }

    fn on_event(&self, event: &Event<'_>) {
        match event {
            Event::Started { .. } => {
                self.progress.began.get_or_init(Instant::now);
            }
            Event::Ended { outcome, .. } => {
                let is_finished = matches!(outcome, Outcome::Finished { .. });
                self.progress.ended(is_finished || self.end == End::Fail);
            }
            _ => {}
        }
    }
}
