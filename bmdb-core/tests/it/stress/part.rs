//! What one process of the stress is told, and how it plays its part.

use super::dice::Dice;
use super::fleet::WORKERS;
use super::journal::Journal;
use super::legal::{connect, tolerate};
use super::side::Side;
use super::traffic;
use super::worker::Worker;
use bmdb_core::Bmdb;
use bmdb_model::MachineId;
use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::Instant;

/// Set in a process of the stress, to what it has to do.
const PART: &str = "BMDB_STRESS_PART";
/// How long the stress lasts.
const SECONDS: &str = "BMDB_STRESS_SECONDS";
/// What its random choices come from.
const SEED: &str = "BMDB_STRESS_SEED";

/// A run, as it is asked for.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) time: Duration,
    pub(super) seed: u64,
}

impl Plan {
    /// 5 s and any seed, where the environment asks for nothing else.
    pub(super) fn from_env() -> Self {
        let number = |name: &str| {
            let text = env::var(name).ok()?;
            let number: Result<u64, _> = text.parse();
            Some(number.unwrap_or_else(|error| panic!("{name}={text:?}: {error}")))
        };
        let any = bmdb_backoff::mix(uuid::Uuid::new_v4().as_u128(), 0);
        Self {
            time: Duration::from_secs(number(SECONDS).unwrap_or(5)),
            seed: number(SEED).unwrap_or(any),
        }
    }
}

/// The part of one process.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) number: u32,
    pub(super) seed: u64,
    pub(super) time: Duration,
    pub(super) journal: PathBuf,
    pub(super) url: String,
}

/// What the tasks of a process share.
pub(super) struct Stage {
    pub(super) bmdb: Bmdb,
    pub(super) side: Side,
    pub(super) journal: Journal,
    pub(super) machines: Vec<MachineId>,
    until: Instant,
}

impl Stage {
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }
}

impl Part {
    pub(super) fn from_env() -> Option<Self> {
        let text = env::var(PART).ok()?;
        let fields: Vec<&str> = text.lines().collect();
        let [number, seed, millis, journal, url] = fields[..] else {
            panic!("{PART}={text:?}");
        };
        Some(Self {
            number: number.parse().unwrap(),
            seed: seed.parse().unwrap(),
            time: Duration::from_millis(millis.parse().unwrap()),
            journal: journal.into(),
            url: url.to_owned(),
        })
    }

    /// Tells a process its part.
    pub(super) fn tell(&self, command: &mut Command) {
        let Self { number, seed, .. } = self;
        let (millis, journal) = (self.time.as_millis(), self.journal.display());
        let text = format!("{number}\n{seed}\n{millis}\n{journal}\n{}", self.url);
        command.env(PART, text);
    }

    /// Plays it, and panics on every error that the faults do not account for.
    pub(super) async fn play(&self) {
        let until = Instant::now() + self.time;
        let side = Side::connect(&self.url).await;
        let machines = side.rows("SELECT machine_id FROM machines").await;
        let stage = Arc::new(Stage {
            bmdb: connect(&self.url).await,
            side,
            journal: Journal::create(&self.journal),
            machines: machines.iter().map(|m| m[0].parse().unwrap()).collect(),
            until,
        });
        let mut tasks = Vec::new();
        for number in 0..WORKERS {
            let worker = Worker::new(stage.clone(), number, self.dice(number));
            tasks.push(tokio::spawn(worker.run()));
        }
        let dice = self.dice(WORKERS);
        tasks.push(tokio::spawn(traffic::write_tags(stage.clone(), dice)));
        tasks.push(tokio::spawn(traffic::hear_from_agents(stage.clone())));
        for task in tasks {
            task.await.unwrap();
        }
        if let Err(error) = stage.bmdb.drain(Duration::from_secs(5)).await {
            let _next = tolerate("draining", &error);
        }
        stage.journal.saw("the end");
    }

    fn dice(&self, task: u32) -> Dice {
        Dice::new(self.seed, self.number << 8 | task)
    }
}
