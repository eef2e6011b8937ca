//! The example of the documentation, unchanged.

use bmdb_backoff::{Backoff, Factor, Seconds};
use bmdb_core::{Bmdb, Claim, Config, SessionOptions, TxError, WorkError};
use bmdb_model::{AgentStarted, MachineId, Process, Provided, Provider, retrieval};
use bmdb_testkit::TestDb;
use std::time::Duration;

const RETRY: Backoff = Backoff::exponential(
    Seconds::new(1).unwrap(),
    Seconds::new(5).unwrap(),
    Factor::from_int(2),
);

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_machine_backs_off() -> Result<(), Box<dyn std::error::Error>> {
    let db = TestDb::new().await?; // migrated, its own; db.url(), db.advance(d), db.expire(session_id)
    let bmdb = Bmdb::connect(
        Config::new(db.url())
            .component("shepherd")
            .runtime_info("host a"),
    )
    .await?;
    bmdb.migrate().await?; // no-op here
    let session = bmdb
        .start_session(SessionOptions::default().interval(Duration::from_secs(5)))
        .await?;

    let machine: MachineId = session
        .transact(async |tx| {
            let machine = tx.create_machine().await?;
            tx.set_provided(machine, &Provided::new(Provider::EQUINIX, "123"))
                .await?;
            Ok::<_, TxError>(machine)
        })
        .await?;

    let work = session
        .work(&Process::SHEPHERD_ACCESS, async |tx| {
            let due = retrieval::for_agent_start(
                tx,
                &Process::SHEPHERD_ACCESS,
                Some(&Provider::EQUINIX),
                1,
            )
            .await?;
            Ok::<_, TxError>(due.into_iter().map(|p| p.machine_id).collect())
        })
        .await?;
    let failed = work.fail(&RETRY, "no answer on port 22").await?; // failed.interval, failed.until
    assert_eq!(failed.interval.get(), 1);
    assert!(matches!(
        session
            .work(&Process::SHEPHERD_ACCESS, async |_| Ok::<_, TxError>(vec![
                machine
            ]))
            .await,
        Err(WorkError::BackedOff { .. })
    ));

    db.advance(Duration::from_secs(2)).await?;
    for work in session
        .claim(
            &Claim::of(&Process::SHEPHERD_AGENT_START)
                .provider(&Provider::EQUINIX)
                .limit(10),
        )
        .await?
    {
        let machine = work.machine();
        work.finish(async |tx| {
            tx.set_agent_started(machine, &AgentStarted::now(b"key"))
                .await
        })
        .await?;
    }
    session.close().await?;
    Ok(())
}
