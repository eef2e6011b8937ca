//! A silence of ours is not a silence of theirs: since when a provider's agents are listened to.

use crate::scenario::{MINUTE, RECOVERY, Scenario};
use bmdb_model::agent::{self, Listening, ProviderAgents};
use bmdb_model::internal::agent as internal;
use bmdb_model::{MachineId, Provider, retrieval};
use bmdb_testkit::{Role, TestDb};
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use uuid::Uuid;

const LUMEN: Provider = Provider::LUMEN;

impl Scenario {
    /// Nobody is assumed to listen, as in a database of one's own.
    async fn unassumed() -> Self {
        let s = Self::new().await;
        s.db.run_sql("DELETE FROM agent_listening").await.unwrap();
        s
    }

    /// Machines whose agents have just sent a heartbeat.
    async fn beating(&self, provider: &Provider, machines: usize) -> Vec<MachineId> {
        let mut all = Vec::new();
        for number in 0..machines {
            let id = format!("{number:03}");
            let machine = self.db.machine().provided(provider, &id);
            let machine = machine
                .agent_started(60 * MINUTE)
                .agent_heartbeat(MINUTE / 60);
            all.push(machine.create().await.unwrap());
        }
        all
    }

    /// A writer by plain SQL writes heartbeats of these machines.
    async fn hear(&self, machines: &[MachineId]) {
        let ids: Vec<String> = machines.iter().map(|id| format!("'{id}'")).collect();
        let beat = format!(
            "UPDATE machine_agent_heartbeat SET agent_heartbeat_at = clock_timestamp()
             WHERE machine_id IN ({})",
            ids.join(", ")
        );
        self.db.run_sql(&beat).await.unwrap();
    }

    pub(crate) async fn observe(&mut self) {
        internal::observe_listening(&mut self.conn).await.unwrap();
    }

    /// Minutes in which these machines beat and a janitor observes it.
    async fn live(&mut self, minutes: u32, machines: &[MachineId]) {
        for _ in 0..minutes {
            self.advance(60).await;
            self.hear(machines).await;
            self.observe().await;
        }
    }

    /// The machines that are silent, by their number.
    async fn silent_ids(&mut self) -> Vec<String> {
        let listed = retrieval::for_agent_recovery(&mut self.conn, &RECOVERY, None, 10_000);
        let mut ids: Vec<String> = listed
            .await
            .unwrap()
            .into_iter()
            .map(|m| m.provided.provider_id)
            .collect();
        ids.sort();
        ids
    }

    async fn agents_of(&mut self, provider: &Provider) -> ProviderAgents {
        let all = agent::listening(&mut self.conn).await.unwrap();
        all.into_iter()
            .find(|p| p.listening.provider == *provider)
            .unwrap()
    }

    pub(crate) async fn listening(&mut self) -> Listening {
        self.agents_of(&Provider::EQUINIX).await.listening
    }
}

const NONE: [&str; 0] = [];

impl Scenario {
    /// Agents of which the first `silent` ones were heard an hour ago, and the others just now.
    async fn first_seen(&self, agents: usize, silent: usize) -> Vec<MachineId> {
        let all = self.beating(&Provider::EQUINIX, agents).await;
        let old = format!(
            "UPDATE machine_agent_heartbeat SET agent_heartbeat_at = now() - interval '1 hour'
             WHERE machine_id IN (SELECT machine_id FROM machine_provided
                                  ORDER BY provider_id LIMIT {silent})"
        );
        self.db.run_sql(&old).await.unwrap();
        all
    }
}

#[tokio::test]
async fn where_nearly_all_agents_are_heard_at_first_sight_the_silence_of_the_others_counts() {
    let mut s = Scenario::unassumed().await;
    s.first_seen(40, 2).await;
    assert_eq!(
        s.silent_ids().await,
        NONE,
        "nobody has ever observed anything"
    );
    s.observe().await;
    assert_eq!(s.silent_ids().await, ["000", "001"]);
}

#[tokio::test]
async fn where_more_are_silent_at_first_sight_silence_counts_ten_minutes_later() {
    let mut s = Scenario::unassumed().await;
    let all = s.first_seen(40, 3).await;
    s.observe().await;
    assert_eq!(s.silent_ids().await, NONE, "somebody listens, since now");
    s.live(9, &all[1..]).await;
    assert_eq!(s.silent_ids().await, NONE);
    s.live(2, &all[1..]).await;
    assert_eq!(s.silent_ids().await, ["000"]);
}

#[tokio::test]
async fn after_an_outage_nothing_is_silent_until_somebody_has_listened_for_ten_minutes() {
    let mut s = Scenario::unassumed().await;
    let all = s.beating(&Provider::EQUINIX, 20).await;
    s.live(12, &all).await;
    assert!(s.listening().await.since.is_some());

    // The database was away, was restored from an old backup, or its clock has jumped.
    s.advance(11 * 60).await;
    assert_eq!(s.silent_ids().await, NONE, "before anybody observes it");
    assert!(!s.listening().await.listened);
    s.observe().await;
    assert_eq!(s.silent_ids().await, NONE, "nobody listens");
    // The writer comes back and works through its machines.
    s.hear(&all[..3]).await;
    s.advance(6).await;
    s.observe().await;
    assert!(s.listening().await.listened);
    assert_eq!(
        s.silent_ids().await,
        NONE,
        "a part of the heartbeats has arrived"
    );
    s.live(9, &all[..12]).await;
    assert_eq!(s.silent_ids().await, NONE);
    s.live(1, &all[..19]).await;
    assert_eq!(s.silent_ids().await, ["019"]);
}

#[tokio::test]
async fn a_gap_of_a_minute_is_none_and_one_of_two_minutes_is() {
    let mut s = Scenario::unassumed().await;
    let all = s.beating(&Provider::EQUINIX, 2).await;
    s.live(1, &all).await;
    let first = s.listening().await.since;
    s.advance(80).await;
    s.hear(&all).await;
    s.observe().await;
    // Moved with all times.
    let kept = s.listening().await.since.unwrap();
    assert!(kept < first.unwrap(), "{kept}");
    s.advance(120).await;
    s.hear(&all).await;
    s.observe().await;
    assert!(s.listening().await.since.unwrap() > kept);
}

#[tokio::test]
async fn while_one_of_two_writers_writes_the_machines_of_the_other_fall_silent() {
    let mut s = Scenario::unassumed().await;
    let all = s.beating(&Provider::EQUINIX, 4).await;
    s.live(11, &all).await;
    s.live(11, &all[..2]).await;
    assert_eq!(s.silent_ids().await, ["002", "003"]);
}

#[tokio::test]
async fn each_provider_is_listened_to_by_itself_and_a_provider_that_goes_is_forgotten() {
    let mut s = Scenario::unassumed().await;
    let here = s.beating(&Provider::EQUINIX, 1).await;
    let there = s.beating(&LUMEN, 1).await;
    s.live(11, &here).await;
    assert!(s.listening().await.listened);
    let lumen = s.agents_of(&LUMEN).await;
    assert!(
        !lumen.listening.listened && lumen.listening.since.is_none(),
        "{lumen:?}"
    );
    assert_eq!((lumen.agents, lumen.listeners), (1, 0));
    assert_eq!(s.silent_ids().await, NONE, "nobody listens to Lumen");

    let forget = format!(
        "DELETE FROM machine_provided WHERE machine_id = '{}'",
        there[0]
    );
    s.db.run_sql(&forget).await.unwrap();
    s.live(1, &here).await;
    let left = s.rows("SELECT provider FROM agent_listening").await;
    assert_eq!(left, ["Equinix"]);
}

#[tokio::test]
async fn a_program_that_says_so_listens_while_its_session_beats() {
    let mut s = Scenario::unassumed().await;
    s.beating(&Provider::EQUINIX, 1).await;
    s.advance(300).await;
    s.observe().await;
    assert!(!s.listening().await.listened);
    let (session, listener) = (s.session, Uuid::from_u128(1));
    for (provider, listens) in [
        (Some(&LUMEN), false),
        (Some(&Provider::EQUINIX), true),
        (None, true),
    ] {
        for _ in 0..2 {
            internal::start_listening(&mut s.conn, listener, session, provider)
                .await
                .unwrap();
        }
        s.advance(120).await;
        s.observe().await;
        assert_eq!(s.listening().await.listened, listens, "{provider:?}");
        assert_eq!(
            s.agents_of(&Provider::EQUINIX).await.listeners,
            i64::from(listens)
        );
        internal::stop_listening(&mut s.conn, &[listener])
            .await
            .unwrap();
    }
    internal::start_listening(&mut s.conn, listener, session, None)
        .await
        .unwrap();
    for dead in [
        "session_deadline = session_deadline - interval '61 minutes'",
        "session_deadline = clock_timestamp() + interval '55 minutes'",
        "session_deadline = clock_timestamp() + interval '99 minutes'",
    ] {
        s.db.run_sql(&format!("UPDATE sessions SET {dead}"))
            .await
            .unwrap();
        s.advance(120).await;
        s.observe().await;
        assert!(!s.listening().await.listened, "{dead}");
    }
    // The janitor deletes the session.
    let mut component = as_component(&s.db).await;
    component
        .batch_execute("DELETE FROM sessions")
        .await
        .unwrap();
    assert_eq!(s.rows("SELECT 1 FROM agent_listener").await, NONE);
}

#[tokio::test]
async fn times_in_the_future_prove_nothing() {
    let mut s = Scenario::unassumed().await;
    let all = s.beating(&Provider::EQUINIX, 2).await;
    s.db.run_sql(
        "UPDATE machine_agent_heartbeat SET agent_heartbeat_at = now() + interval '1 year'",
    )
    .await
    .unwrap();
    s.observe().await;
    assert!(!s.listening().await.listened);

    s.live(11, &all).await;
    // The server's clock is set back by an hour, and nobody writes.
    s.db.run_sql("UPDATE agent_listening SET since = since + interval '1 hour',
                      heard_at = heard_at + interval '1 hour', observed_at = observed_at + interval '1 hour';
                  UPDATE machine_agent_heartbeat SET agent_heartbeat_at = agent_heartbeat_at + interval '51 min'")
        .await
        .unwrap();
    assert!(!s.listening().await.listened);
    s.observe().await;
    s.advance(3600 + 60).await;
    assert!(!s.listening().await.listened, "the clock has got there");
    assert_eq!(s.silent_ids().await, NONE);
    s.live(11, &all[1..]).await;
    assert_eq!(s.silent_ids().await, ["000"]);
}

#[tokio::test]
async fn an_assumption_ends_when_somebody_listens_and_after_an_outage() {
    let mut s = Scenario::unassumed().await;
    let all = s.beating(&Provider::EQUINIX, 2).await;
    s.beating(&LUMEN, 1).await;
    let assume =
        async |s: &mut Scenario| internal::assume_listening(&mut s.conn, None).await.unwrap();
    let assumed = async |s: &mut Scenario| s.listening().await.assumed;
    s.live(1, &all).await;
    s.advance(660).await;
    assert_eq!(assume(&mut s).await, [Provider::EQUINIX, LUMEN]);
    assert_eq!(s.silent_ids().await, ["000", "000", "001"]);
    for _ in 0..20 {
        s.advance(60).await;
        s.observe().await;
    }
    assert!(assumed(&mut s).await, "nobody listens yet");
    s.live(1, &all).await;
    assert!(!assumed(&mut s).await);
    assert!(s.agents_of(&LUMEN).await.listening.assumed);
    assert_eq!(s.silent_ids().await, ["000"], "that of Lumen");

    let only = internal::assume_listening(&mut s.conn, Some(&Provider::EQUINIX))
        .await
        .unwrap();
    assert_eq!(only, [], "somebody listens");
    // Away, or a backup in which it was assumed.
    s.advance(660).await;
    assert_eq!(s.silent_ids().await, NONE);
    s.observe().await;
    assert!(!s.agents_of(&LUMEN).await.listening.assumed);
    assert_eq!(s.silent_ids().await, NONE);
}

#[tokio::test]
async fn a_row_for_no_provider_switches_it_off() {
    let mut s = Scenario::new().await;
    let all = s.beating(&Provider::EQUINIX, 2).await;
    s.live(1, &all).await;
    s.advance(660).await;
    s.observe().await;
    assert_eq!(s.silent_ids().await, ["000", "001"]);
    assert!(s.listening().await.assumed);
}

#[tokio::test]
async fn machines_that_are_installed_are_heard_too() {
    let mut s = Scenario::unassumed().await;
    let all = s.beating(&Provider::EQUINIX, 2).await;
    let install = format!(
        "INSERT INTO machine_os_installation_request VALUES ('{0}', 1, 'r');
         INSERT INTO machine_os_installation_report VALUES ('{0}', 1, 'Success', 'r')",
        all[0]
    );
    s.db.run_sql(&install).await.unwrap();
    s.live(12, &all[..1]).await;
    assert_eq!(s.silent_ids().await, ["001"]);
    // If only they are left, nobody has to listen, and nothing is silent.
    s.db.run_sql(&format!(
        "DELETE FROM machine_agent_started WHERE machine_id = '{}'",
        all[1]
    ))
    .await
    .unwrap();
    s.advance(660).await;
    s.observe().await;
    assert_eq!(s.silent_ids().await, NONE);
}

async fn as_component(db: &TestDb) -> AsyncPgConnection {
    let url = db.url_as(Role::Component).await.unwrap();
    AsyncPgConnection::establish(&url).await.unwrap()
}

#[tokio::test]
async fn components_observe_and_viewers_and_standbys_only_read() {
    let s = Scenario::unassumed().await;
    s.beating(&Provider::EQUINIX, 1).await;
    let mut component = as_component(&s.db).await;
    internal::observe_listening(&mut component).await.unwrap();
    let session = s.session;
    internal::start_listening(&mut component, Uuid::from_u128(7), session, None)
        .await
        .unwrap();
    internal::assume_listening(&mut component, None)
        .await
        .unwrap();

    s.advance(60).await;
    let url = s.db.url_as(Role::Viewer).await.unwrap();
    let mut viewer = AsyncPgConnection::establish(&url).await.unwrap();
    assert_eq!(agent::listening(&mut viewer).await.unwrap().len(), 1);
    internal::observe_listening(&mut viewer).await.unwrap_err();
    let gates = "SELECT FROM process_gates('ShepherdRecovery', 'Equinix'), agent_silence";
    viewer.batch_execute(gates).await.unwrap();
    component
        .batch_execute("SET default_transaction_read_only = on")
        .await
        .unwrap();
    internal::observe_listening(&mut component)
        .await
        .unwrap_err();
    assert_eq!(agent::listening(&mut component).await.unwrap().len(), 1);
}

#[tokio::test]
async fn observers_neither_wait_for_each_other_nor_repeat_what_was_just_observed() {
    let mut s = Scenario::unassumed().await;
    s.beating(&Provider::EQUINIX, 1).await;
    s.beating(&LUMEN, 1).await;
    s.observe().await;
    let rows = "SELECT provider, ctid, xmin FROM agent_listening ORDER BY 1";
    let before = s.rows(rows).await;
    s.observe().await;
    assert_eq!(s.rows(rows).await, before);

    s.advance(6).await;
    let mut other = s.db.connect().await.unwrap();
    let lock = "BEGIN; UPDATE agent_listening SET assumed = true WHERE provider = 'Equinix'";
    other.batch_execute(lock).await.unwrap();
    let before = s.rows(rows).await;
    s.observe().await;
    let after = s.rows(rows).await;
    assert_eq!(before[0], after[0], "left to the other one");
    assert_ne!(before[1], after[1]);
}

#[tokio::test]
async fn viewers_of_an_upgraded_installation_read_it_too() {
    let db = TestDb::at_version("20261123000400").await.unwrap();
    let owner = AsyncPgConnection::establish(&db.url_as(Role::Owner).await.unwrap()).await;
    bmdb_model::migration::run_pending(owner.unwrap())
        .await
        .unwrap();
    let url = db.url_as(Role::Viewer).await.unwrap();
    let mut viewer = AsyncPgConnection::establish(&url).await.unwrap();
    let read = "SELECT FROM process_gates('ShepherdRecovery', 'Equinix'), agent_silence";
    viewer.batch_execute(read).await.unwrap();
}
