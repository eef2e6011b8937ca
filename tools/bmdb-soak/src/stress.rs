//! The stress: sixteen sessions in four processes on one small fleet, with lost leases, holds, writers
//! of tags, and connections and processes that are killed; and its controls, which leave out a guard.

use crate::environment::{Environment, Launch, start_workers};
use crate::failure::{Done, Failure};
use crate::fault::Kind;
use crate::fixture;
use crate::folder::Folder;
use crate::journal::{Journal, OPERATOR};
use crate::report::Report;
use crate::run::{Plan, random_seed, run};
use crate::schedule::Rhythm;
use crate::server::{self, Network};
use crate::stop::Stop;
use bmdb_testkit::TestDb;
use clap::ValueEnum;
use std::time::Duration;
use tokio::sync::Mutex;

const PROCESSES: usize = 4;
const SESSIONS: u32 = 4;
const MACHINES: usize = 160;

/// Between two terminated connections.
const TERMINATE_EVERY: Duration = Duration::from_millis(350);

/// Before and between what operators do.
const OPERATE_EVERY: Duration = Duration::from_secs(1);

/// Between two killed workers, in a run that is long enough.
const KILL_EVERY: Duration = Duration::from_secs(10);

/// Two claims that come at the same time see the same slot free.
const UNLOCKED_SLOTS: &str = "
    CREATE OR REPLACE FUNCTION lock_free_slot(
        asked process_limit, asked_partition text, asked_kind text, maximum integer)
    RETURNS bigint LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO process_slot (process, per, partition, kind, number)
        SELECT asked.process, asked.per, asked_partition, asked_kind, n FROM generate_series(1, maximum) n
        ON CONFLICT DO NOTHING;
        RETURN (SELECT s.slot_id FROM process_slot s
                WHERE s.process = asked.process AND s.per = asked.per AND s.partition = asked_partition
                  AND s.kind = asked_kind AND s.number <= maximum AND s.free_at <= clock_timestamp()
                LIMIT 1);
    END $$";

/// What must happen within five seconds. Deadlocks, conflicts, ends of unknown outcome and others take a
/// race or a fault at the right moment.
const EXPECTED: &[&str] = &[
    "finished",
    "failed",
    "canceled",
    "expired",
    "recoveries claimed",
    "ends acknowledged",
    "ends refused",
    "tags written by finishes",
    "heartbeats of agents",
    "transactions rolled back",
    "closures run again",
    "dropped claims",
    "dropped ends",
    "walked away",
    "zombies",
    "connections terminated",
    "workers killed",
];

/// Run many sessions against each other, and check that nothing was lost or done twice.
///
/// Sixteen sessions in four processes claim and end work on one small fleet. Leases are lost and their
/// holders come back, tags are written at both isolation levels, machines are put on hold, connections
/// and processes are killed. Then a judge reads the database and the workers' journals. Uses the server
/// that BMDB_TEST_DATABASE_URL names, else boots one. Exits 0 only if nothing is wrong, every error of a
/// worker is explained, and everything that was to happen did.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// For how many seconds; recovery and judging take some more.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Draw the random choices from this seed. Default: a random one, which is printed.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Control: leave out this guard, and exit 0 only if the judge finds the consequence.
    #[arg(long, value_name = "GUARD")]
    without: Option<Guard>,
    #[command(flatten)]
    network: Network,
}

/// A guard that a control leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Guard {
    /// The unique index that lets one session work in a lane of a machine.
    LaneIndex,
    /// The check on claiming that a machine is still due.
    ReplanOnClaim,
    /// The lock of the slot that a claim takes.
    SlotLock,
    /// Each of them, one after the other.
    All,
}

impl Guard {
    /// The SQL that leaves it out, and what the judge must say then.
    fn sabotage(self) -> (&'static str, &'static str) {
        match self {
            Self::LaneIndex => ("DROP INDEX work_item_lane", "both in lane shepherd"),
            Self::SlotLock => (UNLOCKED_SLOTS, "ran at once, more than"),
            _ => (
                "UPDATE process_def SET time_driven = false",
                "although its agent had sent a heartbeat",
            ),
        }
    }

    fn each(self) -> Vec<Self> {
        match self {
            Self::All => vec![Self::LaneIndex, Self::ReplanOnClaim, Self::SlotLock],
            one => vec![one],
        }
    }
}

pub(crate) async fn stress(args: &Args) -> Done {
    let Some(guard) = args.without else {
        let (report, db) = run_once(args, "").await?;
        report.print(false);
        if report.findings().is_empty() {
            return Ok(());
        }
        eprintln!("the database is kept: psql '{}'", db.admin_url());
        // Dropping it would drop the database.
        std::mem::forget(db);
        return Err(Failure::Found);
    };
    for guard in guard.each() {
        let (sabotage, expected) = guard.sabotage();
        let (report, _db) = run_once(args, sabotage).await?;
        let findings = report.findings();
        let found = findings.iter().find(|finding| finding.contains(expected));
        let Some(found) = found else {
            return Err(Failure::step(format!(
                "{sabotage:?}: the judge found {} violations, but none with {expected:?}",
                findings.len()
            )));
        };
        println!("{sabotage:?}: the judge found {}", findings.len());
        println!("  for example: {found}");
    }
    Ok(())
}

async fn run_once(args: &Args, sabotage: &str) -> Done<(Report, TestDb)> {
    eprintln!(
        "stress: {PROCESSES} processes of {SESSIONS} sessions on {MACHINES} machines for {} s{}, then \
         everything is judged; usually {} to {} s in all",
        args.seconds,
        if sabotage.is_empty() {
            ""
        } else {
            ", without a guard"
        },
        args.seconds + 3,
        args.seconds + 20,
    );
    server::provide(args.network)?;
    let time = Duration::from_secs(args.seconds);
    let seed = args.seed.unwrap_or_else(random_seed);
    let plan = Plan {
        seed,
        time,
        kinds: Kind::STRESS.to_vec(),
        impossible: Vec::new(),
        rhythms: [
            Rhythm::Every(KILL_EVERY.min(time / 2)),
            Rhythm::Every(TERMINATE_EVERY),
            Rhythm::Every(OPERATE_EVERY),
        ],
        expected: EXPECTED,
        replay: format!("cargo xtask test --stress {} --seed {seed}", args.seconds),
    };
    let folder = Folder::new()?;
    let stop = Stop::on_interrupt(folder.path().to_owned());
    let db = TestDb::new().await?;
    fixture::make(&db, MACHINES).await?;
    db.run_sql(sabotage).await?;
    let sessions = SESSIONS.to_string();
    let options = [
        "--sessions",
        &sessions,
        "--tasks",
        "1",
        "--side-url",
        db.url(),
    ];
    let launch = Launch {
        seed,
        urls: vec![db.url().to_owned(); PROCESSES],
        clock: None,
        options: options.map(str::to_owned).to_vec(),
    };
    let environment = Environment {
        workers: Mutex::new(start_workers(folder.path(), launch)?),
        proxies: Vec::new(),
        url: db.url().to_owned(),
        db,
        servers: None,
        clock: None,
        disk: None,
        gateway: None,
        journal: Journal::create(&folder.path().join(OPERATOR))?,
    };
    let report = run(&plan, &environment, &folder, &stop).await?;
    if !report.findings().is_empty() && sabotage.is_empty() {
        folder.keep()?;
    }
    Ok((report, environment.db))
}
