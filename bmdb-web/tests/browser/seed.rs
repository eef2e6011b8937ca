//! A fleet in which everything that the pages can show has happened.

use bmdb_backoff::Backoff;
use bmdb_core::{Bmdb, Claim, Config, Session, SessionOptions, Work};
use bmdb_model::{AgentStarted, MachineId, Process, Provided, Provider};
use bmdb_testkit::TestDb;
use std::error::Error;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const LOCATIONS: [&str; 4] = ["fr2", "am6", "sv15", "ny5"];

/// What lives on while the pages are looked at: a component, its session, and what it holds.
pub(crate) struct Fleet {
    pub(crate) bmdb: Bmdb,
    pub(crate) session: Session,
    _held: Vec<Work>,
}

pub(crate) async fn fleet(db: &TestDb) -> Result<Fleet, Box<dyn Error>> {
    let config = Config::new(db.admin_url())
        .component("agent-starter")
        .runtime_info("host rack-4, pid 4711");
    let bmdb = Bmdb::connect(config).await?;
    let session = bmdb
        .start_session(SessionOptions::default().interval(MINUTE))
        .await?;
    machines(db, &session).await?;
    failures(db, &session).await?;
    loss(db, &bmdb).await?;
    let due = Claim::of(&Process::SHEPHERD_AGENT_START).provider(&Provider::EQUINIX);
    for work in session.claim(&due.clone().limit(6)).await? {
        let machine = work.machine();
        let agent = AgentStarted::now(b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA".to_vec());
        work.finish(async |tx| tx.set_agent_started(machine, &agent).await)
            .await?;
    }
    let held = session.claim(&due.limit(3)).await?;
    db.advance(90 * MINUTE).await?; // the held are stuck
    Ok(Fleet {
        bmdb,
        session,
        _held: held,
    })
}

async fn machines(db: &TestDb, session: &Session) -> Result<(), Box<dyn Error>> {
    session
        .transact(async |tx| {
            for nth in 0..30_u8 {
                let provider = if nth % 4 == 3 {
                    Provider::LUMEN
                } else {
                    Provider::EQUINIX
                };
                let mut provided = Provided::new(provider, format!("c3-medium-{nth:02}"));
                provided.ip_address = Some(format!("192.0.2.{}", nth + 10));
                provided.location = Some(LOCATIONS[usize::from(nth) % LOCATIONS.len()].to_owned());
                let machine = MachineId::random();
                tx.create_machine_as(machine).await?;
                tx.set_provided(machine, &provided).await?;
                match nth {
                    0..4 => {
                        tx.set_agent_started(machine, &AgentStarted::now(b"key".to_vec()))
                            .await?
                    }
                    4 => {
                        tx.set_hardware_report(machine, br#"{"cpu":"EPYC 7402P","memory_gib":64}"#)
                            .await?
                    }
                    5 => {
                        tx.hold(machine, "<b>fan 3</b> is loud; ticket 4711")
                            .await?
                    }
                    6 => {
                        tx.set_os_installation_request(machine, 1, b"flatcar")
                            .await?
                    }
                    _ => {}
                }
            }
            Ok(())
        })
        .await?;
    let silent = db
        .machine()
        .provided(&Provider::LUMEN, "silent")
        .agent_started(90 * MINUTE);
    silent
        .agent_heartbeat(30 * MINUTE)
        .planned()
        .create()
        .await?;
    Ok(())
}

/// One machine fails twelve times, the same way at last, and another one with text that wants to be
/// markup and never ends.
async fn failures(db: &TestDb, session: &Session) -> Result<(), Box<dyn Error>> {
    let due = Claim::of(&Process::SHEPHERD_AGENT_START)
        .provider(&Provider::LUMEN)
        .limit(2);
    let retry: Backoff = "initial=1m,max=20m,factor=2".parse()?;
    let hostile = format!(
        "<script>alert('x')</script> & \"quotes\" {}",
        "no-spaces-here".repeat(30)
    );
    for attempt in 0..12 {
        for (nth, work) in session.claim(&due).await?.into_iter().enumerate() {
            let cause = match (nth, attempt) {
                (0, 0..3) => "connection refused on port 22",
                (0, _) => "no answer on port 22 within 30 s",
                _ => &hostile,
            };
            work.fail(&retry, cause).await?;
        }
        db.advance(20 * MINUTE).await?;
    }
    for work in session.claim(&due).await? {
        work.fail(&retry, "no answer on port 22 within 30 s")
            .await?;
    }
    Ok(())
}

/// Another component dies with two machines in its hands.
async fn loss(db: &TestDb, bmdb: &Bmdb) -> Result<(), Box<dyn Error>> {
    let session = bmdb.start_session(SessionOptions::default()).await?;
    let due = Claim::of(&Process::SHEPHERD_RECOVERY).limit(2);
    let held = session.claim(&due).await?;
    db.expire(session.id()).await?;
    bmdb.free_lost_work().await?;
    drop(held);
    Ok(())
}
