//! The head of a queue, as an empty poll reports it.

use crate::scenario::{RECOVERY, START, Scenario};
use bmdb_model::internal::work::{self, QueueHead};
use bmdb_model::{Process, Provider};
use std::time::Duration;

impl Scenario {
    /// The head of the queue, on which an empty claim and the read-only statement agree.
    async fn head(&mut self, process: &Process, provider: Option<&Provider>) -> QueueHead {
        let (conn, session) = (&mut self.conn, self.session);
        let claim = work::claim_from(conn, process, provider.into(), None, session, 0).await;
        let of_claim = claim.unwrap().expect("the session lives").head;
        let seen = work::possibly_due(conn, process, provider, session).await;
        let (of_look, _) = seen.unwrap().expect("the session lives");
        match (of_claim, of_look) {
            (QueueHead::DueIn(first), QueueHead::DueIn(second)) => assert!(second <= first),
            _ => assert_eq!(of_claim, of_look),
        }
        of_look
    }

    /// The head of each kind of queue: Equinix's, Lumen's, everybody's.
    async fn heads(&mut self, process: &Process) -> [QueueHead; 3] {
        let mut heads = [QueueHead::Empty; 3];
        let providers = [Some(&Provider::EQUINIX), Some(&Provider::LUMEN), None];
        for (head, provider) in heads.iter_mut().zip(providers) {
            *head = self.head(process, provider).await;
        }
        heads
    }
}

fn is_in(head: QueueHead, seconds: u64) -> bool {
    let slack = Duration::from_secs(10);
    matches!(head, QueueHead::DueIn(time)
        if time <= Duration::from_secs(seconds) && time + slack > Duration::from_secs(seconds))
}

#[tokio::test]
async fn an_empty_poll_reports_when_the_next_machine_of_its_queue_is_due() {
    let mut s = Scenario::new().await;
    assert_eq!(s.heads(&START).await, [QueueHead::Empty; 3]);
    let first = s.provided("a").await;
    assert_eq!(
        s.heads(&START).await,
        [QueueHead::Due, QueueHead::Empty, QueueHead::Due]
    );
    let lumen = s.db.machine().provided(&Provider::LUMEN, "a").planned();
    let second = lumen.create().await.unwrap();
    for (machine, seconds) in [(first, 500), (second, 300)] {
        let backoff = format!(
            "UPDATE work_item SET backoff_until = now() + interval '{seconds} seconds'
             WHERE machine_id = '{machine}'"
        );
        s.db.run_sql(&backoff).await.unwrap();
    }
    let [equinix, lumen, any] = s.heads(&START).await;
    assert!(is_in(equinix, 500), "{equinix:?}");
    assert!(is_in(lumen, 300), "{lumen:?}");
    assert!(is_in(any, 300), "{any:?}");
    assert_eq!(s.heads(&RECOVERY).await, [QueueHead::Empty; 3]);
}

#[tokio::test]
async fn the_earliest_due_machine_is_found_even_without_a_provider() {
    let mut s = Scenario::new().await;
    for (n, provider) in ["'A'", "'B'", "'C'", "NULL"].iter().enumerate() {
        let machine = s.db.machine().create().await.unwrap();
        let minutes = 20 - n;
        s.db.run_sql(&format!(
            "INSERT INTO work_item (machine_id, process, lane, provider, eligible, plan_at)
             VALUES ('{machine}', 'Any', 'Any', {provider}, true, now() + interval '{minutes} min')"
        ))
        .await
        .unwrap();
    }
    let any = Process::from_static("Any");
    for seconds in [17 * 60, 18 * 60, 19 * 60, 20 * 60] {
        let head = s.head(&any, None).await;
        assert!(is_in(head, seconds), "{seconds}: {head:?}");
        s.db.run_sql(
            "DELETE FROM work_item WHERE ready_at = (SELECT min(ready_at) FROM work_item)",
        )
        .await
        .unwrap();
    }
    assert_eq!(s.head(&any, None).await, QueueHead::Empty);
}

#[tokio::test]
async fn the_head_of_a_queue_that_is_never_due_is_checked_again_after_a_day() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    let day = Duration::from_secs(86_400);
    for (at, head) in [
        ("infinity", QueueHead::DueIn(day)),
        ("294000-01-01", QueueHead::DueIn(day)),
        ("-infinity", QueueHead::Due),
    ] {
        let plan = format!("UPDATE work_item SET plan_at = '{at}'");
        s.db.run_sql(&plan).await.unwrap();
        assert_eq!(
            s.heads(&START).await,
            [head, QueueHead::Empty, head],
            "{at}"
        );
    }
}

#[tokio::test]
async fn items_before_the_cursor_and_claimed_items_are_not_the_head() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    let cursor = Some("2200-01-01T00:00:00Z".parse().unwrap());
    for provider in [Some(&Provider::EQUINIX), None] {
        let (conn, session) = (&mut s.conn, s.session);
        let above = work::claim_from(conn, &START, provider.into(), cursor, session, 9).await;
        assert_eq!(above.unwrap().unwrap(), work::ClaimBatch::default());
    }
    s.claim_one(&START).await;
    assert_eq!(s.heads(&START).await, [QueueHead::Empty; 3]);
}
