//! A run of the soak or the stress: injects the scheduled faults, waits for recovery, drains the workers
//! and has everything judged.

use crate::environment::Environment;
use crate::events::{Event, now};
use crate::failure::Done;
use crate::fault::{Kind, Track};
use crate::fixture;
use crate::folder::Folder;
use crate::gateway::Mode;
use crate::journal::{self, Entry, OPERATOR, THE_END};
use crate::judge::{self, Facts};
use crate::memory::Memory;
use crate::progress::Progress;
use crate::quiesce::{reclaim_until, wait_for_recovery};
use crate::report::Report;
use crate::schedule::{Injection, Rhythm, latest, schedule};
use crate::stop::Stop;
use crate::workers;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The longest lease of a worker, and the time to reclaim what it leaves.
const LAST_LEASES: Duration = Duration::from_secs(5);

/// What is to happen in a run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// For how long faults are injected.
    pub(crate) time: Duration,
    pub(crate) kinds: Vec<Kind>,
    /// Faults that were asked for and cannot be injected here, with the reasons.
    pub(crate) impossible: Vec<(Kind, String)>,
    /// For the tracks, in the order of [`Track::ALL`].
    pub(crate) rhythms: [Rhythm; 3],
    /// What must have happened, or else the run has shown nothing: names of the report's counts.
    pub(crate) expected: &'static [&'static str],
    /// The command that draws the same faults again; their timing depends on the machine.
    pub(crate) replay: String,
}

/// A short random seed, which is easily typed.
pub(crate) fn random_seed() -> u64 {
    RandomState::new().hash_one(std::process::id()) >> 32
}

struct Run<'r> {
    plan: &'r Plan,
    environment: &'r Environment,
    stop: &'r Stop,
    progress: Progress,
}

/// Runs all of it and judges the result.
pub(crate) async fn run(
    plan: &Plan,
    environment: &Environment,
    folder: &Folder,
    stop: &Stop,
) -> Done<Report> {
    let run = Run {
        plan,
        environment,
        stop,
        progress: Progress::new(Duration::from_secs(10)),
    };
    let (span, events, memory) = run.inject_all().await?;
    let mut complaints = wait_for_recovery(environment).await?;
    run.progress
        .say("draining the workers, then judging the database and the journals");
    run.progress.end();
    let mut workers = environment.workers.lock().await;
    let drained = workers.drain().await?;
    let db = &environment.db;
    let no_sessions = "NOT EXISTS (SELECT FROM sessions)";
    if let Some(gateway) = &environment.gateway {
        gateway.set(Mode::Gone);
    }
    reclaim_until(db.admin_url(), no_sessions, LAST_LEASES).await?;
    fixture::restore_lane(db).await?;
    for number in drained {
        let entries = journal::read(&workers::journal(folder.path(), number))?;
        if entries.last() != Some(&Entry::Saw(THE_END.to_owned())) {
            complaints.push(format!("worker {number} did not note its end"));
        }
    }
    complaints.extend(workers.complaints.iter().cloned());
    let journals = (0..workers.started()).map(|number| workers::journal(folder.path(), number));
    // A worker that was killed at once has none.
    let journals = journals.filter(|path| path.is_file());
    let journals = journals.chain([folder.path().join(OPERATOR)]);
    let entries: io::Result<Vec<_>> = journals.map(|path| journal::read(&path)).collect();
    let facts = Facts::of(&entries?);
    Ok(Report {
        verdict: judge::judge(db.admin_url(), &facts).await?,
        facts,
        seed: plan.seed,
        replay: plan.replay.clone(),
        expected: plan.expected,
        impossible: plan.impossible.clone(),
        span,
        events,
        workers: workers.started(),
        memory,
        complaints,
        interrupted: stop.is_requested(),
        journals: folder.kept().to_owned(),
    })
}

impl Run<'_> {
    /// Injects all faults and undoes what is left of them; returns them, and when they began and were over.
    async fn inject_all(&self) -> Done<((i64, i64), Vec<Event>, Memory)> {
        let Plan { seed, kinds, .. } = self.plan;
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        eprintln!("seed {seed}; faults: {}", names.join(", "));
        let (began, beginning) = (Instant::now(), now());
        let tracks = [0, 1, 2].map(|track| {
            let rhythm = self.plan.rhythms[track];
            schedule(*seed, Track::ALL[track], rhythm, kinds, self.plan.time)
        });
        let (first, second, third, watched) = tokio::join!(
            self.play(&tracks[0], began),
            self.play(&tracks[1], began),
            self.play(&tracks[2], began),
            self.watch(began),
        );
        let over = now();
        let (events, memory) = ([first?, second?, third?].concat(), watched?);
        self.environment.heal().await?;
        self.progress
            .say("the faults are over: waiting until every worker works again");
        Ok(((beginning, over), events, memory))
    }

    /// Injects the faults of one track, one after the other.
    async fn play(&self, schedule: &[Injection], began: Instant) -> Done<Vec<Event>> {
        // A fault that takes longer than planned delays those after it: workers recover in between.
        let (mut events, mut late) = (Vec::new(), Duration::ZERO);
        for injection in schedule {
            let Injection {
                at, kind, length, ..
            } = *injection;
            self.stop.sleep_until(began + at + late).await;
            if self.stop.is_requested() || at + late > latest(self.plan.time) {
                break;
            }
            // Those of the stress come several times a second.
            let is_frequent = kind == Kind::Terminate;
            if !is_frequent {
                let seconds = length.as_secs_f64();
                self.progress.say(&format!("{kind} for {seconds:.1} s"));
            }
            let felt = self.environment.inject(injection, self.stop).await?;
            if !is_frequent {
                let unfelt = if felt { "" } else { ", no worker noticed it" };
                self.progress.say(&format!("{kind} is over{unfelt}"));
            }
            let over = now();
            events.push(Event { kind, over, felt });
            late += (began + at + late + length).elapsed();
        }
        Ok(events)
    }

    /// Shows the progress, measures the first worker's memory and replaces workers that end by
    /// themselves.
    async fn watch(&self, began: Instant) -> Done<Memory> {
        let mut memory = Memory::default();
        while began.elapsed() < self.plan.time && !self.stop.is_requested() {
            self.stop.sleep(Duration::from_secs(1)).await;
            let mut workers = self.environment.workers.lock().await;
            workers.replace_dead().await?;
            memory.sample(began.elapsed(), workers.pid(0));
            drop(workers);
            let counts = "SELECT last_value, (SELECT count(*) FROM work) FROM work_fence";
            let counts = timeout(Duration::from_secs(1), self.environment.db.rows(counts)).await;
            let line = match counts {
                Ok(Ok(rows)) => match rows.first().and_then(|row| row.split_once('|')) {
                    Some((claims, claimed)) => {
                        format!("{claims} claims, {claimed} machines claimed now")
                    }
                    None => "nothing is claimed yet".to_owned(),
                },
                _ => "the database does not answer".to_owned(),
            };
            self.progress.show(&line);
        }
        Ok(memory)
    }
}
