//! `bmdb agent`: heartbeats of agents, and who listens to them.

mod heartbeat;
mod input;
mod listening;
mod summary;
mod writer;

use crate::verbs::verbs;

verbs! {
    /// Write heartbeats of agents, or show who listens to them.
    ///
    /// An agent is silent only counted from the time since which somebody has listened to the agents of its
    /// provider: while heartbeats cannot be written, no machine is recovered.
    Agent {
        Heartbeat(heartbeat::Heartbeat),
        Listening(listening::ListeningArgs),
    }
}

impl Agent {
    /// Whether it runs for long and holds a lease.
    pub(crate) fn holds_lease(&self) -> bool {
        match self {
            Self::Heartbeat(heartbeat) => heartbeat.reads_input(),
            Self::Listening(_) => false,
        }
    }
}
