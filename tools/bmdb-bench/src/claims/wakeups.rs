//! Wake-ups: time from a tag's commit until a waiting poller has claimed the machine.

use super::bench::Bench;
use crate::report::{Row, Target};
use bmdb_backoff::{Backoff, Seconds};
use bmdb_core::{Bmdb, Claim, Config, PollOptions, Session, SessionOptions, TxError};
use bmdb_model::{Process, Provided, Provider};
use bmdb_shell::{Done, Failure};
use bmdb_testkit::TestDb;
use std::time::{Duration, Instant};

/// A poll interval so long that only a notification ends it.
const ASLEEP: Duration = Duration::from_secs(3600);

/// After this time the poller waits and listens.
const SETTLED: Duration = Duration::from_millis(50);

/// Failed machines rest for longer than the measurement lasts.
const DONE: Backoff = Backoff::fixed(Seconds::MAX);

pub(super) async fn measure(bench: &mut Bench) -> Done {
    let times: u32 = if bench.quick { 5 } else { 100 };
    eprintln!("wake-ups: {times}");
    let db = TestDb::on(&bench.server).await.map_err(Failure::check)?;
    let samples = woken(&db, times).await.map_err(Failure::check)?;
    let row = Row::new("woken by a tag, from commit to claim", "ms", samples);
    bench.report.row(row.target(Target::P95AtMost(50.0)));
    Ok(())
}

async fn woken(db: &TestDb, times: u32) -> Result<Vec<f64>, Box<dyn std::error::Error>> {
    let bmdb = Bmdb::connect(Config::new(db.url()).component("bench")).await?;
    let session = bmdb.start_session(SessionOptions::default()).await?;
    let claim = Claim::of(&Process::SHEPHERD_AGENT_START).provider(&Provider::EQUINIX);
    let asleep = PollOptions::default().poll_interval(ASLEEP, ASLEEP);
    let mut poller = session.poller_with(&claim, asleep);
    let mut samples = Vec::new();
    // The first does not count: it includes the listener's connection.
    for number in 0..=times {
        let claimed = async { (poller.next(1).await, Instant::now()) };
        let provided = async {
            tokio::time::sleep(SETTLED).await;
            provide(&session, number).await.map(|()| Instant::now())
        };
        let ((claimed, at), committed) = tokio::join!(claimed, provided);
        let committed = committed?;
        if number > 0 {
            let took = at.saturating_duration_since(committed);
            samples.push(took.as_secs_f64() * 1e3);
        }
        for work in claimed? {
            work.fail(&DONE, "measured").await?;
        }
    }
    drop(poller);
    session.close().await?;
    Ok(samples)
}

/// Creates a machine that is due now.
async fn provide(session: &Session, number: u32) -> Result<(), TxError> {
    let id = number.to_string();
    let provide = session.transact(async |tx| {
        let machine = tx.create_machine().await?;
        tx.set_provided(machine, &Provided::new(Provider::EQUINIX, id.as_str()))
            .await
    });
    provide.await
}
