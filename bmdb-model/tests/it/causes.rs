//! Causes: what fails now, by process, provider and text.

use crate::fleet::{Fleet, Situation};
use crate::scenario::{ACCESS, START, Scenario};
use bmdb_model::work::{self, FailureCause};
use bmdb_model::{MachineId, Process, Provider};

impl Scenario {
    /// Fails on as many new machines of the provider, and on each as often.
    async fn failing(&mut self, provider: &Provider, machines: usize, times: usize, cause: &str) {
        let mut attempts = Vec::new();
        for nth in 0..machines {
            let machine = self
                .db
                .machine()
                .provided(provider, &format!("{cause}-{nth}-{}", MachineId::random()));
            attempts.push(machine.planned().create().await.unwrap());
        }
        for time in 0..times {
            for machine in &attempts {
                let attempt = self.claim_machine(*machine, &START).await;
                self.fail(&attempt, 60, cause).await;
            }
            if time + 1 < times {
                self.advance(61).await;
            }
        }
    }

    async fn causes(
        &mut self,
        process: Option<&Process>,
        provider: Option<&Provider>,
    ) -> Vec<(String, String, i64, i64)> {
        let causes = work::causes(&mut self.conn, process, provider, 100).await;
        let causes = causes.unwrap();
        assert!(causes.is_all && !causes.is_more, "{causes:?}");
        let brief = |row: FailureCause| {
            let provider = row.provider.unwrap().to_string();
            (provider, row.cause.unwrap(), row.machines, row.failures)
        };
        causes.rows.into_iter().map(brief).collect()
    }
}

fn cause(
    provider: &Provider,
    text: &str,
    machines: i64,
    failures: i64,
) -> (String, String, i64, i64) {
    (provider.to_string(), text.to_owned(), machines, failures)
}

#[tokio::test]
async fn failing_machines_are_grouped_by_provider_and_text_those_of_most_machines_first() {
    let mut s = Scenario::new().await;
    let (equinix, lumen) = (&Provider::EQUINIX, &Provider::LUMEN);
    assert_eq!(s.causes(None, None).await, []);
    s.failing(equinix, 2, 3, "429").await;
    s.failing(lumen, 3, 1, "429").await;
    s.failing(equinix, 1, 1, "no route").await;
    let all = [
        cause(lumen, "429", 3, 1),
        cause(equinix, "429", 2, 3),
        cause(equinix, "no route", 1, 1),
    ];
    assert_eq!(s.causes(None, None).await, all);
    assert_eq!(s.causes(Some(&START), None).await, all);
    assert_eq!(s.causes(None, Some(equinix)).await, all[1..]);
    assert_eq!(s.causes(Some(&ACCESS), None).await, []);
    let first = work::causes(&mut s.conn, None, None, 2).await.unwrap();
    assert_eq!((first.rows.len(), first.is_more), (2, true));
}

#[tokio::test]
async fn a_cause_names_the_machine_that_failed_last_and_when() {
    let mut s = Scenario::new().await;
    s.failing(&Provider::EQUINIX, 2, 1, "429").await;
    s.advance(30).await;
    let before = s.rows("SELECT now()").await;
    s.failing(&Provider::EQUINIX, 1, 1, "429").await;
    let causes = work::causes(&mut s.conn, None, None, 10).await.unwrap();
    let newest = &causes.rows[0];
    let condition = format!(
        "SELECT machine_id, '{}' >= timestamptz '{}' FROM work_attempt ORDER BY last_fence DESC LIMIT 1",
        newest.failed_at.unwrap(),
        before[0]
    );
    assert_eq!(s.rows(&condition).await, [format!("{}|t", newest.machine)]);
}

#[tokio::test]
async fn what_was_tried_again_succeeded_or_is_on_hold_has_no_cause() {
    let mut s = Scenario::new().await;
    s.failing(&Provider::EQUINIX, 3, 1, "429").await;
    s.advance(61).await;
    let machines = s.rows("SELECT machine_id FROM machines ORDER BY 1").await;
    let hold = format!(
        "INSERT INTO machine_hold (machine_id, reason) VALUES ('{}', 'disk')",
        machines[0]
    );
    s.db.run_sql(&hold).await.unwrap();
    s.claim_machine(machines[1].parse().unwrap(), &START).await;
    let attempt = s.claim_machine(machines[2].parse().unwrap(), &START).await;
    s.finish(&attempt).await;
    assert_eq!(s.causes(None, None).await, []);
}

#[tokio::test]
async fn causes_and_rests_are_read_in_a_bounded_number_of_buffers_in_a_fleet_of_any_size() {
    // Several times the five thousand that are read at most.
    let mut s = Fleet::of(30_000).scenario(Situation::NothingEligible).await;
    s.db.run_sql(
        "UPDATE work_item SET eligible = true, failures = 1 + fence % 7, cause = 'cause ' || fence % 5,
             backoff_until = now() + fence * interval '1 second'
         WHERE fence % 2 = 0;
         UPDATE work_item SET eligible = true, unproductive = 1, backoff_until = now() + interval '1 hour'
         WHERE fence % 2 = 1",
    )
    .await
    .unwrap();
    s.db.run_sql("VACUUM ANALYZE work_item").await.unwrap();
    let causes = work::causes(&mut s.conn, None, None, 10).await.unwrap();
    assert!(!causes.is_all, "{causes:?}");
    let machines: i64 = causes.rows.iter().map(|row| row.machines).sum();
    assert_eq!((causes.rows.len(), machines), (5, 5_000));
    let read = s
        .buffers_of("What backs off or has backed off", "(NULL, 5000, NULL, 10)")
        .await;
    // An index entry, its row, and a look for a hold for each.
    assert!(read <= 11_000, "{read}");
    assert_eq!(work::resting(&mut s.conn, 10).await.unwrap().len(), 10);
    let read = s.buffers_of("w.unproductive > 0", "(5000, 10)").await;
    assert!(read <= 10_500, "{read}");
}
