//! How many requests each operation costs once its statements are prepared: counted on the wire.

use crate::batch::{Fleet, START};
use crate::scenario::RETRY;
use bmdb_core::{Claim, TxError, TxOptions};
use bmdb_model::{AgentStarted, Provider};

/// The requests that `operation` sends, the second time it runs: the first prepares its statements.
async fn requests<T>(fleet: &Fleet, mut operation: impl AsyncFnMut() -> T) -> u64 {
    operation().await;
    let before = fleet.proxy.requests();
    operation().await;
    fleet.proxy.requests() - before
}

#[tokio::test]
async fn a_claim_and_every_end_without_a_closure_are_one_request_each() {
    let fleet = Fleet::of(30).await;
    let claim = Claim::of(&START).provider(&Provider::EQUINIX);
    // Kept, since a work that is dropped is cancelled by a request of its own.
    let mut kept = Vec::new();
    let claiming = requests(&fleet, async || kept.extend(fleet.works(1).await)).await;
    let nothing = Claim::of(&START).provider(&Provider::LUMEN);
    let polling = requests(&fleet, async || {
        fleet.session.claim(&nothing).await.unwrap().len()
    });
    assert_eq!((claiming, polling.await), (1, 1));
    let one = async || fleet.session.claim(&claim).await.unwrap().remove(0);
    let failing = requests(&fleet, async || {
        one().await.fail(&RETRY, "x").await.unwrap()
    });
    assert_eq!(failing.await, 2, "a claim and a failure");
    let cancelling = requests(&fleet, async || one().await.cancel().await.unwrap());
    assert_eq!(cancelling.await, 2, "a claim and a cancellation");
    let finishing = requests(&fleet, async || {
        one().await.finish_unchanged().await.unwrap();
    });
    assert_eq!(finishing.await, 2, "a claim and a finish");
}

#[tokio::test]
async fn a_finish_with_a_closure_is_seven_requests_beside_those_of_its_closure() {
    let fleet = Fleet::of(4).await;
    let finishing = requests(&fleet, async || {
        let work = fleet.works(1).await.remove(0);
        work.finish(async |_| Ok(())).await.unwrap();
    });
    // The claim; begin, fence check, touch, end, the workflows, plan, commit.
    assert_eq!(finishing.await, 1 + 7);
    let finishing = requests(&fleet, async || {
        let work = fleet.works(1).await.remove(0);
        let machine = work.machine();
        let started = AgentStarted::now(b"key");
        let finished = work.finish(async |tx| tx.set_agent_started(machine, &started).await);
        finished.await.unwrap();
    });
    // The closure writes the tag, and deletes heartbeats of an agent before this one.
    assert_eq!(finishing.await, 1 + 7 + 2);
}

#[tokio::test]
async fn a_transaction_is_four_requests_beside_those_of_its_closure() {
    let fleet = Fleet::of(1).await;
    for options in [
        TxOptions::default(),
        TxOptions::read_committed(),
        TxOptions::read_only(),
    ] {
        let transacting = requests(&fleet, async || {
            let nothing = fleet
                .session
                .transact_with(options, async |_| Ok::<_, TxError>(()));
            nothing.await.unwrap();
        });
        // Begin, fence check, the check that nothing was aborted, commit.
        assert_eq!(transacting.await, 4, "{options:?}");
    }
}
