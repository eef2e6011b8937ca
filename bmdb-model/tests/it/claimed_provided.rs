//! The tag `provided` that a claim reads of what it claims.

use crate::scenario::{RECOVERY, START, Scenario};
use bmdb_model::internal::work::{self, Claimed, Providers};
use bmdb_model::{MachineId, Provided, Provider, ProviderStatus};

/// Makes every claim wait for the lock 42.
const SLOW_CLAIMS: &str = "
    CREATE FUNCTION wait_for_42() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NEW; END $$;
    CREATE TRIGGER a_slow_claim BEFORE UPDATE ON work_item FOR EACH ROW
        WHEN (OLD.session_id IS NULL AND NEW.session_id IS NOT NULL) EXECUTE FUNCTION wait_for_42()";

impl Scenario {
    async fn claim_reading(&mut self, providers: Providers<'_>, limit: i64) -> Vec<Claimed> {
        let (conn, session) = (&mut self.conn, self.session);
        let claim =
            work::claim_reading_provided(conn, &START, providers, None, session, limit).await;
        claim.unwrap().expect("the session lives").claimed
    }
}

fn tags(claimed: Vec<Claimed>) -> Vec<(MachineId, Option<Provided>)> {
    let tag = |claimed: Claimed| (claimed.machine, claimed.provided.unwrap());
    claimed.into_iter().map(tag).collect()
}

fn at(id: &str, address: &str) -> Provided {
    Provided::new(Provider::EQUINIX, id)
        .reservation_id("r-1")
        .ip_address(address)
        .location("rack 7")
        .status(ProviderStatus::Running)
}

const DESCRIBE: &str = "UPDATE machine_provided SET provider_reservation_id = 'r-1',
    provider_ip_address = '10.0.0.1', provider_location = 'rack 7', provider_status = 'Running'";

#[tokio::test]
async fn every_form_of_a_claim_reads_the_tags_of_what_it_claims_in_the_order_of_the_machines() {
    let mut s = Scenario::new().await;
    let mut expected = Vec::new();
    for id in ["a", "b", "c", "d"] {
        expected.push((s.provided(id).await, Some(at(id, "10.0.0.1"))));
    }
    s.db.run_sql(DESCRIBE).await.unwrap();
    let mut claimed = Vec::new();
    for providers in [Providers::Any, Providers::One(&Provider::EQUINIX)] {
        let two = tags(s.claim_reading(providers, 2).await);
        assert!(two.is_sorted_by_key(|(machine, _)| *machine));
        claimed.extend(two);
        assert_eq!(s.claim_reading(Providers::None, 2).await, []);
    }
    claimed.sort_by_key(|(machine, _)| *machine);
    expected.sort_by_key(|(machine, _)| *machine);
    assert_eq!(claimed, expected);
}

#[tokio::test]
async fn a_machine_without_the_tag_is_claimed_without_one() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let gone = "DELETE FROM machine_provided; UPDATE work_item SET provider = NULL";
    s.db.run_sql(gone).await.unwrap();
    let claimed = s.claim_reading(Providers::None, 2).await;
    assert_eq!(tags(claimed), [(machine, None)]);
}

#[tokio::test]
async fn a_planned_claim_reads_the_tags_too() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let due = format!(
        "{DESCRIBE}; UPDATE work_item SET process = '{RECOVERY}'; DELETE FROM process_breaker"
    );
    s.db.run_sql(&due).await.unwrap();
    let machines = [machine];
    let claimed = work::claim_planned_reading_provided(
        &mut s.conn,
        &machines,
        &RECOVERY,
        Some(&Provider::EQUINIX),
        s.session,
        5,
    );
    let claimed = claimed.await.unwrap();
    assert_eq!(tags(claimed), [(machine, Some(at("a", "10.0.0.1")))]);
}

/// The claim has happened when its rows are read: an error would leave its machines claimed until the session
/// expires.
#[tokio::test]
async fn a_tag_that_cannot_be_read_is_no_error_of_the_claim() {
    let mut s = Scenario::new().await;
    let (one, other) = (s.provided("a").await, s.provided("b").await);
    let spoil = format!(
        "ALTER TABLE machine_provided DROP CONSTRAINT machine_provided_provider_status_check;
         UPDATE machine_provided SET provider_status = 'Melted' WHERE machine_id = '{one}'"
    );
    s.db.run_sql(&spoil).await.unwrap();
    for claimed in s.claim_reading(Providers::Any, 2).await {
        if claimed.machine == other {
            let expected = Provided::new(Provider::EQUINIX, "b");
            assert_eq!(claimed.provided, Ok(Some(expected)));
        } else {
            assert_eq!(claimed.machine, one);
            let refused = claimed.provided.unwrap_err().to_string();
            let expected = "provider_status: unknown value \"Melted\": expected one of Missing, ";
            assert!(refused.starts_with(expected), "{refused}");
        }
    }
    let claimed = "SELECT count(*) FROM work_item WHERE session_id IS NOT NULL";
    assert_eq!(s.rows(claimed).await, ["2"]);
}

#[tokio::test]
async fn an_idle_poll_reads_no_tags() {
    let mut s = Scenario::new().await;
    let refuse =
        "CREATE OR REPLACE FUNCTION provided_of(machines uuid[]) RETURNS SETOF machine_provided
                  LANGUAGE plpgsql VOLATILE ROWS 10 AS $$ BEGIN RAISE 'called'; END $$";
    s.db.run_sql(refuse).await.unwrap();
    for providers in [
        Providers::Any,
        Providers::One(&Provider::EQUINIX),
        Providers::None,
    ] {
        assert_eq!(s.claim_reading(providers, 5).await, []);
    }
}

/// An attempt on the machine may end, and write the tag, while a claim is under way.
#[tokio::test]
async fn the_tag_is_as_it_was_when_the_machine_had_been_claimed() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.db.run_sql(SLOW_CLAIMS).await.unwrap();
    let mut other = s.db.connect().await.unwrap();
    let lock = "BEGIN; SELECT pg_advisory_xact_lock(42)";
    diesel_async::SimpleAsyncConnection::batch_execute(&mut other, lock)
        .await
        .unwrap();
    let Scenario {
        db,
        mut conn,
        session,
        ..
    } = s;
    let write = async {
        let waits = "SELECT count(*) FROM pg_stat_activity \
                     WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while db.rows(waits).await.unwrap() != ["1"] {
            tokio::task::yield_now().await;
        }
        let written = format!("{DESCRIBE}; COMMIT");
        diesel_async::SimpleAsyncConnection::batch_execute(&mut other, &written)
            .await
            .unwrap();
    };
    let claim = work::claim_reading_provided(&mut conn, &START, Providers::Any, None, session, 1);
    let (claimed, ()) = futures_util::future::join(claim, write).await;
    let claimed = claimed.unwrap().expect("the session lives").claimed;
    assert_eq!(tags(claimed), [(machine, Some(at("a", "10.0.0.1")))]);
}
