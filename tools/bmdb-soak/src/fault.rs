//! The kinds of faults: their names, how long each lasts, and which of them exclude each other.

use crate::rng::Rng;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use std::fmt;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    KillWorker,
    StopWorker,
    Cut,
    Delay,
    BlackHole,
    HalfOpen,
    Clock,
    KillServer,
    KillStandby,
    DiskFull,
    Connections,
    Timeouts,
    LongTransaction,
    Silence,
    Away,
    BrokenView,
    Definitions,
    Pause,
    /// Only of the stress.
    Terminate,
}

/// Faults of one track come one after the other; those of different tracks can overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Track {
    /// Faults of one worker or its network.
    Worker,
    /// Faults of the servers, which affect every worker.
    Server,
    /// What agents and operators do.
    Fleet,
}

impl Track {
    pub(crate) const ALL: [Self; 3] = [Self::Worker, Self::Server, Self::Fleet];
}

impl Kind {
    /// The faults of the soak.
    pub(crate) const SOAK: [Self; 18] = [
        Self::KillWorker,
        Self::StopWorker,
        Self::Cut,
        Self::Delay,
        Self::BlackHole,
        Self::HalfOpen,
        Self::Clock,
        Self::KillServer,
        Self::KillStandby,
        Self::DiskFull,
        Self::Connections,
        Self::Timeouts,
        Self::LongTransaction,
        Self::Silence,
        Self::Away,
        Self::BrokenView,
        Self::Definitions,
        Self::Pause,
    ];

    /// The faults of the stress.
    pub(crate) const STRESS: [Self; 4] = [
        Self::KillWorker,
        Self::Terminate,
        Self::Definitions,
        Self::Pause,
    ];

    /// The name, the track, and the shortest and longest duration in milliseconds. Leases of workers last
    /// one or two seconds, their statements at most two.
    fn row(self) -> (&'static str, Track, u32, u32) {
        use Track::{Fleet, Server, Worker};
        match self {
            Self::KillWorker => ("kill-worker", Worker, 0, 1),
            Self::StopWorker => ("stop-worker", Worker, 2_500, 3_500),
            Self::Cut => ("cut", Worker, 0, 1),
            Self::Delay => ("delay", Worker, 1_000, 2_000),
            Self::BlackHole => ("black-hole", Worker, 2_200, 3_200),
            Self::HalfOpen => ("half-open", Worker, 2_200, 3_200),
            Self::Clock => ("clock", Worker, 1_500, 2_500),
            Self::KillServer => ("kill-server", Server, 1, 1_500),
            Self::KillStandby => ("kill-standby", Server, 1_500, 2_500),
            Self::DiskFull => ("disk-full", Server, 1_500, 2_500),
            Self::Connections => ("connections", Server, 1_500, 2_500),
            Self::Timeouts => ("timeouts", Server, 2_500, 3_500),
            Self::LongTransaction => ("long-transaction", Server, 2_000, 3_000),
            Self::Silence => ("silence", Fleet, 2_000, 3_000),
            Self::Away => ("away", Fleet, 2_500, 3_500),
            Self::BrokenView => ("broken-view", Fleet, 1_500, 2_500),
            Self::Definitions => ("definitions", Fleet, 2_000, 3_000),
            Self::Pause => ("pause", Fleet, 1_000, 2_000),
            Self::Terminate => ("terminate", Server, 0, 1),
        }
    }

    fn help(self) -> &'static str {
        match self {
            Self::KillWorker => "kill -9 of a worker, which is replaced",
            Self::StopWorker => "a worker sleeps past its lease (SIGSTOP, SIGCONT)",
            Self::Cut => "connections are cut",
            Self::Delay => "the network is slow",
            Self::BlackHole => "the network loses everything, without errors",
            Self::HalfOpen => "requests of workers are lost, answers still arrive",
            Self::Clock => "a worker's wall clock jumps (libfaketime)",
            Self::KillServer => "kill -9 of PostgreSQL, which is restarted",
            Self::KillStandby => "kill -9 of the supervisor of the synchronous standby",
            Self::DiskFull => "the server's disk, a small tmpfs, has no space left",
            Self::Connections => "the limit of connections is reached",
            Self::Timeouts => "statements time out, because a table is locked",
            Self::LongTransaction => "a transaction keeps locks on machines and work items",
            Self::Silence => "nobody writes heartbeats, as if for eleven minutes",
            Self::Away => "the database is away, as if for eleven minutes",
            Self::BrokenView => "the view of one process divides by zero for one machine",
            Self::Definitions => "limits change, and a process moves to another lane and back",
            Self::Pause => "somebody pauses a process or one provider of it",
            Self::Terminate => "the server terminates a worker's connection",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.row().0
    }

    pub(crate) fn track(self) -> Track {
        self.row().1
    }

    pub(crate) fn length(self, rng: &mut Rng) -> Duration {
        let (_, _, shortest, longest) = self.row();
        Duration::from_millis(u64::from(shortest + rng.below(longest - shortest)))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The values of `--faults`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    All,
    None,
    One(Kind),
}

impl Choice {
    const VARIANTS: [Self; 2 + Kind::SOAK.len()] = {
        let mut variants = [Self::All; 2 + Kind::SOAK.len()];
        variants[1] = Self::None;
        let mut at = 0;
        while at < Kind::SOAK.len() {
            variants[2 + at] = Self::One(Kind::SOAK[at]);
            at += 1;
        }
        variants
    };

    fn description(self) -> (&'static str, &'static str) {
        match self {
            Self::All => ("all", "every kind that is possible here"),
            Self::None => ("none", "no faults"),
            Self::One(kind) => (kind.name(), kind.help()),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        self.description().0
    }
}

impl ValueEnum for Choice {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::VARIANTS
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = self.description();
        Some(PossibleValue::new(name).help(help))
    }
}

/// The kinds that these values of `--faults` name, each once.
pub(crate) fn chosen(choices: &[Choice]) -> Vec<Kind> {
    let is_chosen = |kind: &Kind| {
        choices
            .iter()
            .any(|choice| matches!(choice, Choice::All) || *choice == Choice::One(*kind))
    };
    Kind::SOAK.into_iter().filter(is_chosen).collect()
}
