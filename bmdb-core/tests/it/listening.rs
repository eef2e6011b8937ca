//! Listening: whatever was away for eleven minutes, no healthy machine is recovered, and then those that are
//! really silent are.

use crate::scenario::{Scenario, connect};
use crate::{dedicated_server, wait};
use bmdb_core::operator::explain::explain;
use bmdb_core::{Bmdb, Claim, Config, Session, SessionOptions};
use bmdb_model::agent::{self, Listening};
use bmdb_model::{AgentHeartbeat, MachineId, Process, Provider, gates};
use bmdb_testkit::{Profile, Replication, TestDb};
use std::time::Duration;

const RECOVERY: Process = Process::SHEPHERD_RECOVERY;

/// A fleet with agents, its writer, and a recovery program.
struct Fleet {
    s: Scenario,
    machines: Vec<MachineId>,
    writer: Session,
    _bmdb: Bmdb,
}

impl Fleet {
    /// All agents have just been heard, and were listened to for long.
    async fn listened_to(machines: usize) -> Self {
        Self::on(TestDb::new().await.unwrap(), machines).await
    }

    async fn on(db: TestDb, machines: usize) -> Self {
        let fleet = format!(
            "DELETE FROM agent_listening;
             CREATE TEMP TABLE f AS SELECT gen_random_uuid() AS id, i FROM generate_series(1, {machines}) i;
             INSERT INTO machines (machine_id) SELECT id FROM f;
             INSERT INTO machine_provided (machine_id, provider, provider_id) SELECT id, 'Equinix', i FROM f;
             INSERT INTO machine_agent_started SELECT id, now() - interval '1 day', 'key' FROM f;
             INSERT INTO machine_agent_heartbeat SELECT id, now() FROM f;
             DROP TABLE f; ANALYZE"
        );
        db.run_sql(&fleet).await.unwrap();
        let s = Scenario::on(db).await;
        let bmdb = connect(&s.db).await;
        let writer = bmdb.start_session(SessionOptions::default()).await.unwrap();
        let ids = s
            .rows("SELECT machine_id FROM machine_provided ORDER BY provider_id::int")
            .await;
        let fleet = Self {
            machines: ids.iter().map(|id| id.parse().unwrap()).collect(),
            s,
            writer,
            _bmdb: bmdb,
        };
        fleet.s.bmdb.replan().await.unwrap();
        fleet.live(12, &fleet.machines).await;
        fleet
    }

    /// Minutes in which these machines are heard. A janitor observes it.
    async fn live(&self, minutes: u32, heard: &[MachineId]) {
        for _ in 0..minutes {
            self.s.advance(60).await;
            self.hear(heard).await;
            self.observe().await;
        }
    }

    async fn hear(&self, machines: &[MachineId]) {
        let heard: Vec<AgentHeartbeat> = machines.iter().map(|m| (*m, None)).collect();
        assert_eq!(self.writer.heartbeat_agents(&heard).await.unwrap(), []);
    }

    /// Whatever a janitor's turn does.
    async fn observe(&self) {
        self.s.bmdb.janitor_turn().await.unwrap();
    }

    /// How many machines recovery programs claim now. They are given back.
    async fn recovered(&self) -> usize {
        let claim = Claim::of(&RECOVERY)
            .provider(&Provider::EQUINIX)
            .limit(1000);
        let claimed = self.s.session.claim(&claim).await.unwrap();
        let claimed = claimed.len() + self.s.session.claim(&claim).await.unwrap().len();
        self.s
            .db
            .run_sql("UPDATE work_item SET session_id = NULL, started_at = NULL")
            .await
            .unwrap();
        claimed
    }

    async fn listening(&self) -> Listening {
        let mut conn = self.s.db.connect().await.unwrap();
        agent::listening(&mut conn)
            .await
            .unwrap()
            .remove(0)
            .listening
    }

    async fn why(&self, machine: MachineId) -> Vec<String> {
        let mut conn = self.s.db.connect().await.unwrap();
        let why = explain(&gates::one(&mut conn, machine, &RECOVERY).await.unwrap());
        why.ready.sentences.into_iter().chain(why.advice).collect()
    }
}

#[tokio::test]
async fn after_the_database_was_away_for_eleven_minutes_no_healthy_machine_is_recovered() {
    let f = Fleet::listened_to(50).await;
    let [healthy @ .., _, _] = &f.machines[..] else {
        unreachable!("a fleet")
    };
    f.s.advance(11 * 60).await;
    // No matter what is first, claims or heartbeats, some of them or all.
    assert_eq!(f.recovered().await, 0, "before any heartbeat");
    f.hear(&healthy[..10]).await;
    assert_eq!(
        f.recovered().await,
        0,
        "a part of the heartbeats has arrived"
    );
    f.observe().await;
    assert_eq!(f.recovered().await, 0);
    f.live(9, healthy).await;
    assert_eq!(f.recovered().await, 0);
    f.live(2, healthy).await;
    assert_eq!(f.recovered().await, 2, "those that are really silent");
}

#[tokio::test]
async fn claims_observe_too_where_no_janitor_runs() {
    let f = Fleet::listened_to(3).await;
    f.s.db.run_sql("DELETE FROM agent_listening").await.unwrap();
    f.s.advance(10 * 60).await;
    // Few are heard at first sight.
    f.hear(&f.machines[2..]).await;
    // Another component, which has not observed anything yet.
    let bmdb = connect(&f.s.db).await;
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    assert_eq!(session.claim(&Claim::of(&RECOVERY)).await.unwrap().len(), 0);
    assert!(f.listening().await.listened);
}

#[tokio::test]
async fn a_restart_of_the_writer_is_no_gap_within_ninety_seconds_and_one_after_eleven_minutes() {
    let f = Fleet::listened_to(20).await;
    let (silent, healthy) = f.machines.split_first().unwrap();
    f.live(9, healthy).await;
    f.s.advance(80).await;
    f.hear(healthy).await;
    f.observe().await;
    assert_eq!(
        f.recovered().await,
        1,
        "{silent} is silent for 10 minutes and 20 seconds"
    );

    for minute in 1..=11 {
        f.s.advance(60).await;
        f.observe().await;
        // A heartbeat proves that somebody listens for 90 seconds, and an observation of it as long.
        let silent = usize::from(minute <= 2);
        assert_eq!(f.recovered().await, silent, "minute {minute}");
    }
    f.live(9, healthy).await;
    assert_eq!(f.recovered().await, 0);
    f.live(2, healthy).await;
    assert_eq!(f.recovered().await, 1);
}

#[tokio::test]
async fn a_writer_in_sql_that_works_through_its_machines_in_batches_harms_none() {
    let f = Fleet::listened_to(40).await;
    f.s.advance(11 * 60).await;
    for batch in 1..=8 {
        let heard = format!(
            "UPDATE machine_agent_heartbeat h SET agent_heartbeat_at = clock_timestamp()
             FROM machine_provided p WHERE p.machine_id = h.machine_id AND p.provider_id::int <= {}",
            5 * batch
        );
        f.s.db.run_sql(&heard).await.unwrap();
        f.observe().await;
        assert_eq!(f.recovered().await, 0, "batch {batch}");
        f.s.advance(60).await;
    }
}

#[tokio::test]
async fn three_per_cent_that_are_silent_are_recovered_without_anybody() {
    let f = Fleet::listened_to(100).await;
    f.live(9, &f.machines[3..]).await;
    assert_eq!(f.recovered().await, 0);
    f.live(2, &f.machines[3..]).await;
    assert_eq!(f.recovered().await, 3);
}

#[tokio::test]
async fn a_declared_listener_makes_silence_count_until_it_is_dropped_or_its_session_ends() {
    let f = Fleet::listened_to(4).await;
    let listener = f
        .writer
        .listen_to_agents(Some(&Provider::EQUINIX))
        .await
        .unwrap();
    assert_eq!(listener.provider(), Some(&Provider::EQUINIX));
    // Nobody sends anything, and that is known.
    f.live(9, &[]).await;
    assert_eq!(f.recovered().await, 0);
    f.live(2, &[]).await;
    assert_eq!(f.recovered().await, 4);
    let everywhere = f.writer.listen_to_agents(None).await.unwrap();
    listener.stop();
    wait::until(&f.s.db, "(SELECT count(*) FROM agent_listener) = 1").await;
    f.live(1, &[]).await;
    assert!(f.listening().await.listened);

    drop(everywhere);
    wait::until(&f.s.db, "NOT EXISTS (SELECT FROM agent_listener)").await;
    f.live(2, &[]).await;
    assert!(!f.listening().await.listened);
    assert_eq!(f.recovered().await, 0);

    let _kept = f.writer.listen_to_agents(None).await.unwrap();
    f.live(1, &[]).await;
    assert!(f.listening().await.listened);
    f.writer.close().await.unwrap();
    assert_eq!(f.s.rows("SELECT count(*) FROM agent_listener").await, ["0"]);
}

#[tokio::test]
async fn a_lost_session_cannot_declare_itself() {
    let s = Scenario::new().await;
    s.db.expire(s.session.id()).await.unwrap();
    let refused = s.session.listen_to_agents(None).await.unwrap_err();
    assert!(
        matches!(refused, bmdb_core::TxError::SessionExpired),
        "{refused}"
    );
    assert_eq!(s.rows("SELECT count(*) FROM agent_listener").await, ["0"]);
}

#[tokio::test]
async fn a_component_with_a_janitor_observes_soon() {
    let f = Fleet::listened_to(1).await;
    f.s.db.run_sql("DELETE FROM agent_listening").await.unwrap();
    let bmdb = Bmdb::connect(Config::new(f.s.db.url()).component("janitor"))
        .await
        .unwrap();
    wait::until(
        &f.s.db,
        "EXISTS (SELECT FROM agent_listening WHERE heard_at IS NOT NULL)",
    )
    .await;
    drop(bmdb);
}

#[tokio::test]
async fn why_says_when_nobody_listens_and_since_when_somebody_does() {
    let f = Fleet::listened_to(2).await;
    let machine = f.machines[0];
    let said = |why: Vec<String>, text: &str| {
        assert!(
            why.iter().any(|line| line.contains(text)),
            "{text}: {why:?}"
        );
    };
    let is_silent_about_it = |why: Vec<String>| {
        assert!(!why.iter().any(|line| line.contains("listen")), "{why:?}");
    };
    is_silent_about_it(f.why(machine).await);
    f.s.advance(11 * 60).await;
    said(
        f.why(machine).await,
        "Nobody has been listening to the agents of Equinix since ",
    );
    said(
        f.why(machine).await,
        "`bmdb process resume ShepherdRecovery` goes on regardless",
    );
    f.hear(&f.machines[1..]).await;
    f.observe().await;
    said(
        f.why(machine).await,
        "The agents of Equinix have been listened to without a gap only since ",
    );
    f.live(11, &f.machines[1..]).await;
    is_silent_about_it(f.why(machine).await);

    f.s.advance(11 * 60).await;
    let mut conn = f.s.db.connect().await.unwrap();
    bmdb_model::internal::agent::assume_listening(&mut conn, None)
        .await
        .unwrap();
    said(
        f.why(machine).await,
        "an operator has said that their silence counts nevertheless",
    );
    f.s.db.run_sql("DELETE FROM agent_listening").await.unwrap();
    said(
        f.why(machine).await,
        "Nobody has ever been seen listening to the agents of Equinix",
    );
}

/// A fail-over to a standby that has not followed for a while, and a restored backup, look like this.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_fail_over_that_took_eleven_minutes_no_healthy_machine_is_recovered() {
    let primary = dedicated_server::server(Profile::Durable).await;
    let f = Fleet::on(TestDb::on(&primary).await.unwrap(), 10).await;
    let standby = primary.standby(Replication::Synchronous).unwrap();
    f.live(1, &f.machines).await;
    f.s.advance(11 * 60).await;
    let url = f.s.db.url_with(&[&standby]);
    primary.kill9().unwrap();
    standby.promote().unwrap();

    let bmdb = Bmdb::connect(Config::new(url).component("after"))
        .await
        .unwrap();
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    let claim = Claim::of(&RECOVERY).limit(100);
    let first: Vec<AgentHeartbeat> = f.machines[..3].iter().map(|m| (*m, None)).collect();
    for _ in 0..3 {
        assert!(session.claim(&claim).await.unwrap().is_empty());
        assert_eq!(session.heartbeat_agents(&first).await.unwrap(), []);
        bmdb.janitor_turn().await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(session.claim(&claim).await.unwrap().is_empty());
}
