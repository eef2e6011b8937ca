//! The kinds of faults: their names, how long each lasts, and which of them take turns.

use super::rng::Dice;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use std::fmt;
use std::time::Duration;

/// A kind of fault.
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
}

/// Faults of one track come one after the other; those of different tracks come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Track {
    /// What befalls a worker or its network.
    Worker,
    /// What befalls the servers, and so everybody.
    Server,
}

impl Track {
    pub(crate) const ALL: [Self; 2] = [Self::Worker, Self::Server];
}

impl Kind {
    pub(crate) const ALL: [Self; 13] = [
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
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::KillWorker => "kill-worker",
            Self::StopWorker => "stop-worker",
            Self::Cut => "cut",
            Self::Delay => "delay",
            Self::BlackHole => "black-hole",
            Self::HalfOpen => "half-open",
            Self::Clock => "clock",
            Self::KillServer => "kill-server",
            Self::KillStandby => "kill-standby",
            Self::DiskFull => "disk-full",
            Self::Connections => "connections",
            Self::Timeouts => "timeouts",
            Self::LongTransaction => "long-transaction",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::KillWorker => "kill -9 of a worker, and a new one is started",
            Self::StopWorker => "a worker sleeps past its lease (SIGSTOP), and wakes (SIGCONT)",
            Self::Cut => "connections are cut",
            Self::Delay => "everything on the network takes longer",
            Self::BlackHole => "nothing passes the network, and nobody is told",
            Self::HalfOpen => "what workers say does not arrive, answers do",
            Self::Clock => "a worker's wall clock jumps (libfaketime)",
            Self::KillServer => "kill -9 of PostgreSQL, and it is restarted",
            Self::KillStandby => "kill -9 of the supervisor of the synchronous standby",
            Self::DiskFull => "no room is left on the server's disk, a small tmpfs",
            Self::Connections => "the limit of connections is reached",
            Self::Timeouts => "statements time out, for a table is locked",
            Self::LongTransaction => "a transaction keeps locks on machines and work items",
        }
    }

    pub(crate) fn track(self) -> Track {
        match self {
            Self::KillWorker
            | Self::StopWorker
            | Self::Cut
            | Self::Delay
            | Self::BlackHole
            | Self::HalfOpen
            | Self::Clock => Track::Worker,
            Self::KillServer
            | Self::KillStandby
            | Self::DiskFull
            | Self::Connections
            | Self::Timeouts
            | Self::LongTransaction => Track::Server,
        }
    }

    /// How long it lasts. The leases of the workers last one and two seconds, their statements two.
    pub(crate) fn length(self, dice: &mut Dice) -> Duration {
        let (shortest, longest) = match self {
            Self::KillWorker | Self::Cut => (0, 1),
            Self::StopWorker => (2_500, 3_500),
            Self::Delay => (1_000, 2_000),
            Self::BlackHole | Self::HalfOpen => (2_200, 3_200),
            Self::KillServer => (1, 1_500),
            Self::Timeouts => (2_500, 3_500),
            Self::LongTransaction => (2_000, 3_000),
            Self::Clock | Self::KillStandby | Self::DiskFull | Self::Connections => (1_500, 2_500),
        };
        Duration::from_millis(u64::from(shortest + dice.roll(longest - shortest)))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What `--faults` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    All,
    None,
    One(Kind),
}

impl Choice {
    const ALL: [Self; 2 + Kind::ALL.len()] = {
        let mut all = [Self::All; 2 + Kind::ALL.len()];
        all[1] = Self::None;
        let mut at = 0;
        while at < Kind::ALL.len() {
            all[2 + at] = Self::One(Kind::ALL[at]);
            at += 1;
        }
        all
    };

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::None => "none",
            Self::One(kind) => kind.name(),
        }
    }
}

impl ValueEnum for Choice {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::All => "every kind that is possible here",
            Self::None => "nothing goes wrong",
            Self::One(kind) => kind.what(),
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}

/// The kinds that were asked for, each once.
pub(crate) fn chosen(choices: &[Choice]) -> Vec<Kind> {
    let is_chosen = |kind: &Kind| {
        choices
            .iter()
            .any(|choice| matches!(choice, Choice::All) || *choice == Choice::One(*kind))
    };
    Kind::ALL.into_iter().filter(is_chosen).collect()
}
