//! Capture: the statements by which attempts end, as the library sends them, so that pgbench can send the same.
//!
//! They are read from the server's log, not from the source: what the library will send tomorrow is measured
//! tomorrow, and nothing here has to follow.

use super::fleet;
use super::log::{Entry, entries};
use bmdb_backoff::{Backoff, Seconds};
use bmdb_core::{Bmdb, Claim, Config, EndError, HistoryDetail, Session, SessionOptions, Work};
use bmdb_model::{AgentStarted, Process, Provider, TagWrites};
use bmdb_shell::Failure;
use bmdb_testkit::{Server, TestDb};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const BACKOFF: Backoff = Backoff::fixed(Seconds::MIN);

/// How the captured attempts end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Fail,
    /// With the typed write that the agent was started.
    Tags,
    /// With a closure that writes the same.
    Closure,
}

/// The statements of one end, in their order, and the values that belong to the claim.
#[derive(Debug)]
pub(super) struct Captured {
    pub(super) end: End,
    pub(super) statements: Vec<Entry>,
    pub(super) claimed: Claimed,
}

/// Values of the claimed machines, as the server prints them.
#[derive(Debug, Default)]
pub(super) struct Claimed {
    pub(super) session: String,
    /// By the name of the claim's column: `machines`, `fences`, `starts` and `keys`.
    pub(super) columns: BTreeMap<&'static str, Vec<String>>,
}

/// Ends `batch` machines in a database of its own, and returns what was sent for it.
pub(super) async fn capture(
    server: &Arc<Server>,
    end: End,
    batch: u32,
) -> Result<Captured, Failure> {
    let db = TestDb::on(server).await.map_err(Failure::check)?;
    fleet::fill(&db, 2 * batch, fleet::Due::Now).await?;
    // So that no other number is mistaken for a fence.
    let far = "SELECT setval('work_fence', 1000000007)";
    db.run_sql(far).await.map_err(Failure::check)?;
    let log_all = format!("ALTER DATABASE {} SET log_statement = 'all'", db.name());
    db.run_sql(&log_all).await.map_err(Failure::check)?;
    let config = Config::new(db.url()).component("capture");
    let config = config.pool_size(1).janitor_interval(None);
    let config = config.history(HistoryDetail::Full);
    let bmdb = Bmdb::connect(config).await.map_err(Failure::check)?;
    // No heartbeat is due while the log is read.
    let options = SessionOptions::default().interval(Duration::from_secs(120));
    let session = bmdb.start_session(options).await.map_err(Failure::check)?;
    // The first end also prepares its statements.
    let claimed = claim(&session, batch).await?;
    end_all(&session, end, claimed).await?;
    let attempts = claim(&session, batch).await?;
    let claimed = Claimed::of(&session, &attempts);
    let not_ours = || Failure::check("this process did not boot the server");
    let log = server.folder().ok_or_else(not_ours)?.join("log");
    let before = read(&log)?.len();
    end_all(&session, end, attempts).await?;
    let written = read(&log)?.split_off(before);
    session.close().await.map_err(Failure::check)?;
    let statements = of_one_connection(entries(&written));
    if statements.is_empty() {
        return Err(Failure::check(
            "the server has not logged the statements of an end",
        ));
    }
    Ok(Captured {
        end,
        statements,
        claimed,
    })
}

fn read(log: &PathBuf) -> Result<String, Failure> {
    std::fs::read_to_string(log).map_err(Failure::check)
}

/// The entries of the connection with the most of them: the log is shared with autovacuum and others.
fn of_one_connection(entries: Vec<Entry>) -> Vec<Entry> {
    let mut by_process: BTreeMap<u32, Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        by_process.entry(entry.pid).or_default().push(entry);
    }
    let longest = by_process.into_values().max_by_key(Vec::len);
    longest.unwrap_or_default()
}

async fn claim(session: &Session, batch: u32) -> Result<Vec<Work>, Failure> {
    let claim = Claim::of(&Process::SHEPHERD_AGENT_START).provider(&Provider::EQUINIX);
    let claimed = session.claim(&claim.limit(batch)).await;
    let claimed = claimed.map_err(Failure::check)?;
    match claimed.len() == usize::try_from(batch).unwrap_or_default() {
        true => Ok(claimed),
        false => Err(Failure::check("fewer machines were due than were created")),
    }
}

/// Ends them as the load does.
pub(super) async fn end_all(
    session: &Session,
    end: End,
    claimed: Vec<Work>,
) -> Result<(), Failure> {
    let ended: Vec<Result<(), EndError>> = match end {
        End::Fail => {
            let failures = claimed
                .into_iter()
                .map(|work| (work, &BACKOFF, "no answer"));
            let failed = session.fail_all(failures).await.into_iter();
            failed.map(|failed| failed.map(drop)).collect()
        }
        End::Tags => {
            let finished = claimed.into_iter().map(|work| {
                let writes = TagWrites::new().agent_started(AgentStarted::now(key(&work)));
                (work, writes)
            });
            session.finish_all(finished).await
        }
        End::Closure => join_all(claimed.into_iter().map(finish)).await,
    };
    for ended in ended {
        ended.map_err(Failure::check)?;
    }
    Ok(())
}

async fn finish(work: Work) -> Result<(), EndError> {
    let machine = work.machine();
    let started = AgentStarted::now(key(&work));
    work.finish(async |tx| tx.set_agent_started(machine, &started).await)
        .await
}

/// A key of 32 bytes that no other machine has.
fn key(work: &Work) -> Vec<u8> {
    work.machine().as_uuid().as_bytes().repeat(2)
}

impl Claimed {
    fn of(session: &Session, attempts: &[Work]) -> Self {
        let of = |text: fn(&Work) -> String| attempts.iter().map(text).collect();
        let columns: [(&str, Vec<String>); 4] = [
            ("machines", of(|work| work.machine().to_string())),
            ("fences", of(|work| work.fence().to_string())),
            (
                "starts",
                of(|work| printed(&work.started_at().format("%F %T%.6f").to_string())),
            ),
            ("keys", of(|work| hexadecimal(&key(work)))),
        ];
        Self {
            session: session.id().to_string(),
            columns: columns.into(),
        }
    }
}

/// A time as the server prints it: without zeros at the end, and with its zone.
fn printed(time: &str) -> String {
    format!("{}+00", time.trim_end_matches('0').trim_end_matches('.'))
}

fn hexadecimal(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\\x{digits}")
}

#[cfg(test)]
mod tests {
    use super::{hexadecimal, printed};

    #[test]
    fn values_are_printed_as_the_server_does() {
        assert_eq!(
            printed("2026-11-30 12:00:00.120000"),
            "2026-11-30 12:00:00.12+00"
        );
        assert_eq!(
            printed("2026-11-30 12:00:10.000000"),
            "2026-11-30 12:00:10+00"
        );
        assert_eq!(hexadecimal(&[0, 255]), "\\x00ff");
    }
}
