//! Round trips of each operation once its statements are prepared, counted on the wire.

use crate::batch::{Fleet, START};
use crate::control_loop::{Does, options};
use crate::scenario::RETRY;
use bmdb_core::control_loop::{Commit, Runner, Shutdown};
use bmdb_core::{Claim, TxError, TxOptions};
use bmdb_model::{AgentStarted, Provider, TagWrites};

/// The round trips of `operation`, the second time it runs: the first prepares its statements.
async fn round_trips<T>(fleet: &Fleet, mut operation: impl AsyncFnMut() -> T) -> u64 {
    operation().await;
    let before = fleet.proxy.round_trips();
    operation().await;
    fleet.proxy.round_trips() - before
}

#[tokio::test]
async fn a_claim_and_every_end_but_a_finish_are_one_round_trip_each() {
    let fleet = Fleet::of(30).await;
    let claim = Claim::of(&START).provider(&Provider::EQUINIX);
    // Kept, because dropping work sends another request to cancel it.
    let mut kept = Vec::new();
    let claiming = round_trips(&fleet, async || kept.extend(fleet.claim(1).await)).await;
    let nothing = Claim::of(&START).provider(&Provider::LUMEN);
    let polling = round_trips(&fleet, async || {
        fleet.session.claim(&nothing).await.unwrap().len()
    });
    assert_eq!((claiming, polling.await), (1, 1));
    let one = async || fleet.session.claim(&claim).await.unwrap().remove(0);
    let failing = round_trips(&fleet, async || {
        one().await.fail(&RETRY, "x").await.unwrap()
    });
    assert_eq!(failing.await, 2, "a claim and a failure");
    let cancelling = round_trips(&fleet, async || one().await.cancel().await.unwrap());
    assert_eq!(cancelling.await, 2, "a claim and a cancellation");
    let finishing = round_trips(&fleet, async || {
        one().await.complete().await.unwrap();
    });
    // Begin with fence check, machine and definitions; end, plan, rest and commit. A finish cannot send its
    // plan before it knows the definitions.
    assert_eq!(finishing.await, 1 + 2, "a claim and a finish");
}

#[tokio::test]
async fn a_claim_that_reads_what_it_claims_is_one_round_trip() {
    let fleet = Fleet::of(20).await;
    let claim = Claim::of(&START).provider(&Provider::EQUINIX).limit(10);
    let mut kept = Vec::new();
    let claiming = round_trips(&fleet, async || {
        let claim = claim.clone().with_provided();
        kept.extend(fleet.session.claim(&claim).await.unwrap());
    });
    assert_eq!(claiming.await, 1);
    assert_eq!(kept.len(), 20);
    for work in &kept {
        let provided = work.provided().unwrap().expect("the machine has the tag");
        assert_eq!(provided.provider_id, work.machine().to_string());
    }
    fleet.session.cancel_all(kept).await;
    for work in fleet.session.claim(&claim).await.unwrap() {
        assert_eq!(work.provided(), Ok(None), "the claim did not ask for it");
    }
}

fn started() -> TagWrites {
    TagWrites::new().agent_started(AgentStarted::now(b"key"))
}

#[tokio::test]
async fn a_finish_with_tags_is_two_round_trips_alone_and_in_a_batch() {
    let fleet = Fleet::of(30).await;
    let finishing = round_trips(&fleet, async || {
        let work = fleet.claim(1).await.remove(0);
        work.complete_with(started()).await.unwrap();
    });
    // The claim; begin with fence check and locks; tag, end with plan, and commit. None waits for a batch.
    assert_eq!(finishing.await, 1 + 2);
    let finishing = round_trips(&fleet, async || {
        let claimed = fleet.claim(10).await;
        assert_eq!(claimed.len(), 10);
        let tagged = claimed.into_iter().map(|work| (work, started()));
        let ended = fleet.session.finish_all(tagged).await;
        assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    });
    assert_eq!(finishing.await, 1 + 2);
}

#[tokio::test]
async fn a_runner_that_writes_a_tag_sends_its_claims_and_two_round_trips_for_each_machine() {
    const MACHINES: u32 = 40;
    let fleet = Fleet::of(MACHINES).await;
    let starts =
        Does::new(|_, _| Box::pin(async { Ok(Commit::agent_started(AgentStarted::now(b"key"))) }));
    let options = options().parallelism(1).once(true);
    let before = fleet.proxy.round_trips();
    let runner = Runner::new(&fleet.bmdb, starts).options(options);
    let summary = runner.run(Shutdown::new()).await.unwrap();
    assert_eq!(summary.finished, u64::from(MACHINES), "{summary:?}");
    let sent = fleet.proxy.round_trips() - before;
    // A claim of each of the two providers, and the finish. Each statement is prepared once; the session is
    // started, kept alive and closed.
    let at_most = u64::from((2 + 2) * MACHINES) + 30;
    assert!(sent <= at_most, "{sent}");
}

#[tokio::test]
async fn a_finish_with_a_closure_is_three_round_trips_besides_its_closures() {
    let fleet = Fleet::of(4).await;
    let finishing = round_trips(&fleet, async || {
        let work = fleet.claim(1).await.remove(0);
        work.finish(async |_| Ok(())).await.unwrap();
    });
    // The claim; begin with fence check and touch, end, plan with commit.
    assert_eq!(finishing.await, 1 + 3);
    let finishing = round_trips(&fleet, async || {
        let work = fleet.claim(1).await.remove(0);
        let machine = work.machine();
        let started = AgentStarted::now(b"key");
        let finished = work.finish(async |tx| tx.set_agent_started(machine, &started).await);
        finished.await.unwrap();
    });
    // The closure writes the tag.
    assert_eq!(finishing.await, 1 + 3 + 1);
}

#[tokio::test]
async fn a_transaction_is_two_round_trips_besides_its_closures() {
    let fleet = Fleet::of(1).await;
    for options in [
        TxOptions::default(),
        TxOptions::read_committed(),
        TxOptions::read_only(),
    ] {
        let transacting = round_trips(&fleet, async || {
            let nothing = fleet
                .session
                .transact_with(options, async |_| Ok::<_, TxError>(()));
            nothing.await.unwrap();
        });
        // Begin with fence check, commit.
        assert_eq!(transacting.await, 2, "{options:?}");
    }
}

#[tokio::test]
async fn planning_needs_no_extra_round_trip() {
    let fleet = Fleet::of(1).await;
    // Kept, because dropping work sends another request to cancel it.
    let work = fleet.claim(1).await.remove(0);
    let machine = work.machine();
    let transacting = round_trips(&fleet, async || {
        let touch = fleet.session.transact(async |tx| tx.touch(machine).await);
        touch.await.unwrap();
    });
    // Begin with fence check; touch; plan with commit.
    assert_eq!(transacting.await, 3);
}
