//! Ways to succeed: what is measured side by side, each beside the others in one round.

use super::bare::Bare;
use super::baseline::{Clients, Measured};
use super::bench::Bench;
use super::capture::End;
use super::counters::number;
use super::fleet;
use bmdb_shell::{Done, Failure};
use bmdb_testkit::TestDb;

/// Machines that may be claimed.
const DUE: &str = "SELECT count(*) FROM work_item
    WHERE process = 'ShepherdAgentStart' AND eligible AND session_id IS NULL AND ready_at <= now()";

/// Connections of a program: the default size of a pool.
const CONNECTIONS: u32 = 10;

/// A way to claim machines and end them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    BareCommits,
    BareStatements,
    /// pgbench with the statements of a success with a typed write.
    Pgbench,
    /// Tasks that claim and end for themselves, with a typed write.
    Hand,
    Runner,
    /// The runner, with a closure that writes the same.
    RunnerClosure,
}

impl Way {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::BareCommits => "bare commits, pgbench",
            Self::BareStatements => "two bare statements, pgbench",
            Self::Pgbench => "the same statements, pgbench",
            Self::Hand => "typed write, by hand",
            Self::Runner => "typed write, runner",
            Self::RunnerClosure => "closure, runner",
        }
    }

    pub(super) const fn is_ours(self) -> bool {
        matches!(self, Self::Hand | Self::Runner | Self::RunnerClosure)
    }

    /// `None` without pgbench.
    pub(super) async fn run(
        self,
        bench: &mut Bench,
        (db, bare): (&TestDb, &Bare),
        clients: Clients,
    ) -> Result<Option<Measured>, Failure> {
        let (shape, end) = match self {
            Self::BareCommits => return bare.commits(bench, clients).await,
            Self::BareStatements => return bare.queue(bench, clients).await,
            Self::Pgbench => {
                top_up(db, clients).await?;
                let measured = bench.pgbench(db, &[End::Tags], clients).await?;
                refuse_if_dry(db).await?;
                return Ok(measured);
            }
            Self::Hand => ("each", "tags"),
            Self::Runner => ("runner", "tags"),
            Self::RunnerClosure => ("runner", "closure"),
        };
        top_up(db, clients).await?;
        let options = [
            ("workers", clients.clients.to_string()),
            ("batch", clients.batch.to_string()),
            ("shape", shape.to_owned()),
            ("end", end.to_owned()),
            ("connections", CONNECTIONS.to_string()),
            ("seconds", clients.seconds.to_string()),
        ];
        let loaded = bench.load.run(db, &bench.server, &options).await?;
        refuse_if_dry(db).await?;
        Ok(Some(Measured {
            machines_per_second: loaded.machines_per_second,
            spent: loaded.spent,
        }))
    }
}

/// Adds machines until more are due than can succeed in the time.
async fn top_up(db: &TestDb, clients: Clients) -> Done {
    let a_second = match (clients.clients, clients.batch) {
        (1, 1) => 4_000,
        (..=16, 1) => 12_000,
        _ => 25_000,
    };
    let wanted = f64::from(a_second * clients.duration());
    let due = number(db, DUE).await?;
    if due < wanted {
        // A whole number below 2^32.
        let missing = format!("{:.0}", wanted - due);
        let missing = missing.parse().map_err(Failure::check)?;
        fleet::add(db, missing, fleet::Due::Now).await?;
    }
    Ok(())
}

/// Workers without work would measure polls.
async fn refuse_if_dry(db: &TestDb) -> Done {
    match number(db, DUE).await? > 0.0 {
        true => Ok(()),
        false => Err(Failure::check(
            "every machine has succeeded before the time was over: measure for a shorter time, or let \
             claims/ways.rs create more machines",
        )),
    }
}
