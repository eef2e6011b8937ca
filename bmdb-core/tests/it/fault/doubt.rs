//! Ends in doubt: further faults while the component looks up their outcome.

use super::COMMIT;
use super::ends::{End, Proxied, check_ended_once, claimed_fences};
use crate::scenario::{RETRY, unwritten};
use bmdb_core::{EndError, TxError, Work};
use bmdb_model::{AgentStarted, Process, TagWrites};
use bmdb_testkit::Loss;
use futures_util::future::join_all;
use std::time::Duration;

/// A text that only the lookup by fence contains.
const LOOKUP: &str = "FOR NO KEY UPDATE";

/// A text that only ends of one statement contain.
const RELEASE: &str = "FOR KEY SHARE";

const SEVERAL: Duration = Duration::from_secs(10);

/// Loses the lookup or the retry right after the end has noticed the first loss.
async fn check_second_loss(end: End) {
    for first in Loss::ALL {
        for needle in [LOOKUP, end.needle()] {
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
                assert!(needle != LOOKUP || p.proxy.has_lost(), "{case}: lost once");
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
async fn a_finish_with_tags_that_is_lost_twice_takes_effect_once() {
    check_second_loss(End::FinishWithTags).await;
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
async fn a_failure_with_a_hold_of_the_process_that_is_lost_twice_takes_effect_once() {
    check_second_loss(End::FailAndHoldProcess).await;
}

#[tokio::test]
async fn a_cancel_that_is_lost_twice_takes_effect_once() {
    check_second_loss(End::Cancel).await;
}

#[tokio::test]
async fn a_snooze_that_is_lost_twice_takes_effect_once() {
    check_second_loss(End::Snooze).await;
}

#[tokio::test]
async fn a_pause_of_a_provider_that_is_lost_twice_takes_effect_once() {
    check_second_loss(End::PauseProvider).await;
}

#[tokio::test]
async fn an_end_in_doubt_that_cannot_be_settled_reports_that_and_returns_the_work() {
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
            let work = work.expect("it may still be claimed");
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

/// Work that an end in doubt has returned is canceled when it is dropped.
#[tokio::test]
async fn an_end_in_doubt_whose_work_is_dropped_leaves_nothing_claimed() {
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

/// Post-mortem: a zombie whose connection broke while it ended its work got `WorkLost`, as if its
/// session were alive. The janitor had reclaimed the work with its session.
#[tokio::test]
async fn an_end_in_doubt_whose_session_has_expired_reports_that() {
    // A finish finds out at its fence check, before there is anything to lose.
    for end in [End::Fail, End::Cancel] {
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

/// Ends of three attempts that share the request that is lost.
async fn check_batch(
    outcome: &str,
    needle: &str,
    end: impl AsyncFn(&Proxied, Vec<Work>) -> Vec<Result<(), EndError>>,
) {
    for loss in Loss::ALL {
        let p = Proxied::retrying_for(SEVERAL).await;
        p.s.provided("2").await;
        p.s.provided("3").await;
        let claim = bmdb_core::Claim::of(&Process::SHEPHERD_AGENT_START);
        let claim = claim.provider(&bmdb_model::Provider::EQUINIX).limit(3);
        let claimed = p.session.claim(&claim).await.unwrap();
        assert_eq!(claimed.len(), 3);
        p.proxy.lose(loss, needle);
        for ended in end(&p, claimed).await {
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
    for needle in [RELEASE, COMMIT] {
        check_batch("Finished", needle, async |p, claimed| {
            p.session.finish_all(unwritten(claimed)).await
        })
        .await;
    }
}

#[tokio::test]
async fn a_batch_of_finishes_that_is_lost_writes_each_tag_once() {
    let tagged = |work: Work| {
        let key = work.fence().to_string();
        let writes = TagWrites::new().agent_started(AgentStarted::now(key));
        (work, writes)
    };
    for needle in [RELEASE, COMMIT] {
        check_batch("Finished", needle, async |p, claimed| {
            let ended = p.session.finish_all(claimed.into_iter().map(tagged)).await;
            let untrue = "SELECT FROM work_attempt a FULL JOIN machine_agent_started s
                              ON s.machine_id = a.machine_id AND s.agent_public_key = a.fence::text::bytea
                          WHERE a.fence IS NULL OR s.machine_id IS NULL";
            assert!(p.s.rows(untrue).await.is_empty());
            ended
        })
        .await;
    }
}

#[tokio::test]
async fn a_batch_of_failures_that_is_lost_takes_effect_once() {
    check_batch("Failed", RELEASE, async |p, claimed| {
        let failures = claimed.into_iter().map(|work| (work, &RETRY, "test"));
        let failed = p.session.fail_all(failures).await;
        failed.into_iter().map(|f| f.map(drop)).collect()
    })
    .await;
}

#[tokio::test]
async fn a_batch_of_cancellations_that_is_lost_takes_effect_once() {
    check_batch("Canceled", RELEASE, async |p, claimed| {
        p.session.cancel_all(claimed).await
    })
    .await;
}

#[tokio::test]
async fn pipelined_ends_that_are_lost_take_effect_once() {
    for end in [
        End::FinishUnchanged,
        End::FinishWithTags,
        End::Fail,
        End::Cancel,
    ] {
        check_batch(end.outcome(), RELEASE, async |_, claimed| {
            join_all(claimed.into_iter().map(|work| end.of(work))).await
        })
        .await;
    }
}
