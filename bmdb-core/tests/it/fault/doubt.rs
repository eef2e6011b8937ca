//! Ends in doubt: what else can go wrong while it is found out what became of them.

use super::ends::{End, Proxied, check_ended_once, claimed_fences};
use crate::scenario::RETRY;
use bmdb_core::{EndError, TxError, Work};
use bmdb_model::Process;
use bmdb_testkit::Loss;
use futures_util::future::join_all;
use std::time::Duration;

/// What only the look through the fence contains.
const LOOK: &str = "FOR NO KEY UPDATE";

/// What only ends of one statement contain.
const RELEASE: &str = "FOR KEY SHARE";

const SEVERAL: Duration = Duration::from_secs(10);

/// A second loss, of the look or of the retry, just as the end has learnt of the first one.
async fn check_second_loss(end: End) {
    for first in Loss::ALL {
        for needle in [LOOK, end.needle()] {
            for second in Loss::ALL {
                let p = Proxied::retrying_for(SEVERAL).await;
                let work = p.work().await;
                p.proxy.lose(first, end.needle());
                let again = async {
                    p.proxy.lost().await;
                    p.proxy.lose(second, needle);
                };
                let (ended, ()) = tokio::join!(end.of(work), again);
                let case = format!("{end:?}, {first:?}, then {second:?} of {needle:?}");
                assert!(ended.is_ok(), "{case}: {ended:?}");
                assert!(needle != LOOK || p.proxy.has_lost(), "{case}: lost once");
                check_ended_once(&p.s.db, end.outcome()).await;
            }
        }
    }
}

#[tokio::test]
async fn a_finish_that_is_lost_twice_takes_effect_once() {
    check_second_loss(End::Finish).await;
}

#[tokio::test]
async fn a_finish_without_closure_that_is_lost_twice_takes_effect_once() {
    check_second_loss(End::FinishUnchanged).await;
}

#[tokio::test]
async fn a_fail_that_is_lost_twice_takes_effect_once() {
    check_second_loss(End::Fail).await;
}

#[tokio::test]
async fn a_failure_with_a_hold_that_is_lost_twice_takes_effect_once() {
    check_second_loss(End::FailAndHold).await;
}

#[tokio::test]
async fn a_cancel_that_is_lost_twice_takes_effect_once() {
    check_second_loss(End::Cancel).await;
}

#[tokio::test]
async fn an_end_in_doubt_that_cannot_be_settled_says_so_and_gives_the_work_back() {
    for end in End::ALL {
        for loss in Loss::ALL {
            let p = Proxied::new().await;
            let work = p.work().await;
            p.proxy.lose(loss, end.needle());
            let refuse = async {
                p.proxy.lost().await;
                p.proxy.refuse();
            };
            let (ended, ()) = tokio::join!(end.of(work), refuse);
            let (reason, work) = ended.unwrap_err().into_parts();
            assert!(
                matches!(reason, TxError::CommitUnknown(_)),
                "{end:?}, {loss:?}: {reason}"
            );
            let work = work.expect("it may still be held");
            p.proxy.heal().unwrap();
            match (work.complete().await, loss) {
                (Ok(()), Loss::Request | Loss::Connection) => {
                    check_ended_once(&p.s.db, "Finished").await;
                }
                (Err(error), Loss::Answer | Loss::Connection) => {
                    assert!(matches!(error.reason(), TxError::WorkLost), "{error}");
                    check_ended_once(&p.s.db, end.outcome()).await;
                }
                (ended, _) => panic!("{end:?}, {loss:?}: {ended:?}"),
            }
        }
    }
}

/// Nobody ends the work that was given back in doubt: dropped, it is canceled.
#[tokio::test]
async fn an_end_in_doubt_whose_work_is_dropped_leaves_nothing_held() {
    for end in End::ALL {
        let p = Proxied::new().await;
        let work = p.work().await;
        p.proxy.lose(Loss::Request, end.needle());
        let refuse = async {
            p.proxy.lost().await;
            p.proxy.refuse();
        };
        let (ended, ()) = tokio::join!(end.of(work), refuse);
        drop(ended.unwrap_err());
        assert_eq!(claimed_fences(&p.s.db).await.len(), 1);
        p.proxy.heal().unwrap();
        crate::wait::until(&p.s.db, "NOT EXISTS (SELECT FROM work)").await;
        check_ended_once(&p.s.db, "Canceled").await;
    }
}

/// Post-mortem: a zombie whose connection broke while it ended its work was told that the work was
/// lost, as if its session were alive. What the janitor has recorded as expired is lost with its session.
#[tokio::test]
async fn an_end_in_doubt_whose_session_has_expired_says_that() {
    for end in [End::FinishUnchanged, End::Fail, End::Cancel] {
        for loss in Loss::ALL {
            let p = Proxied::new().await;
            let work = p.work().await;
            p.s.db.expire(p.session.id()).await.unwrap();
            p.s.bmdb.reclaim_expired().await.unwrap();
            p.proxy.lose(loss, end.needle());
            let (reason, work) = end.of(work).await.unwrap_err().into_parts();
            assert!(p.proxy.has_lost());
            assert!(
                matches!(reason, TxError::SessionExpired),
                "{end:?}, {loss:?}: {reason}"
            );
            assert!(work.is_none());
            check_ended_once(&p.s.db, "Expired").await;
        }
    }
}

/// Ends of three works that share the statement that is lost.
async fn check_company(
    outcome: &str,
    end: impl AsyncFn(&Proxied, Vec<Work>) -> Vec<Result<(), EndError>>,
) {
    for loss in Loss::ALL {
        let p = Proxied::retrying_for(SEVERAL).await;
        p.s.provided("2").await;
        p.s.provided("3").await;
        let claim = bmdb_core::Claim::of(&Process::SHEPHERD_AGENT_START);
        let claim = claim.provider(&bmdb_model::Provider::EQUINIX).limit(3);
        let works = p.session.claim(&claim).await.unwrap();
        assert_eq!(works.len(), 3);
        p.proxy.lose(loss, RELEASE);
        for ended in end(&p, works).await {
            assert!(ended.is_ok(), "{outcome}, {loss:?}: {ended:?}");
        }
        assert!(p.proxy.has_lost());
        let outcomes = "SELECT outcome FROM work_attempt";
        assert_eq!(p.s.rows(outcomes).await, [outcome; 3], "{loss:?}");
        assert!(claimed_fences(&p.s.db).await.is_empty());
    }
}

#[tokio::test]
async fn a_batch_of_finishes_that_is_lost_takes_effect_once() {
    check_company("Finished", async |p, works| {
        p.session.finish_all(works).await
    })
    .await;
}

#[tokio::test]
async fn a_batch_of_failures_that_is_lost_takes_effect_once() {
    check_company("Failed", async |p, works| {
        let failures = works.into_iter().map(|work| (work, &RETRY, "test"));
        let failed = p.session.fail_all(failures).await;
        failed.into_iter().map(|f| f.map(drop)).collect()
    })
    .await;
}

#[tokio::test]
async fn a_batch_of_cancellations_that_is_lost_takes_effect_once() {
    check_company("Canceled", async |p, works| {
        p.session.cancel_all(works).await
    })
    .await;
}

#[tokio::test]
async fn ends_pipelined_that_are_lost_take_effect_once() {
    for end in [End::FinishUnchanged, End::Fail, End::Cancel] {
        check_company(end.outcome(), async |_, works| {
            join_all(works.into_iter().map(|work| end.of(work))).await
        })
        .await;
    }
}
