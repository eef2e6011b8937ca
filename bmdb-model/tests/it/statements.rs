//! Every statement runs, and every frequent one is prepared once per connection.

use crate::scenario::{ACCESS, RECOVERY, START, Scenario};
use bmdb_model::backoff::{self, Which};
use bmdb_model::connection::{self, Access, Isolation};
use bmdb_model::fleet::{self, Filter, ItemState, Prefix};
use bmdb_model::history::{self, Event, Retention};
use bmdb_model::internal::attempt_counts::Count;
use bmdb_model::internal::notify::Notify;
use bmdb_model::internal::operator::NewAction;
use bmdb_model::internal::{self, overlong, plan, reclaim, set_back};
use bmdb_model::maintenance::{self, Task, TaskProgress};
use bmdb_model::operator::{self, Scope, Verb};
use bmdb_model::os_installation::{self, InstallationResult::Success};
use bmdb_model::tag::{self, TagName};
use bmdb_model::work::{self, ClaimedFilter};
use bmdb_model::{
    AgentStarted, MachineId, Provided, Provider, agent, attempt_counts, counts, custom_tags, gates,
    hardware, hold, machine, overview, process, process_control, provided, retrieval, session,
};
use uuid::Uuid;

impl Scenario {
    /// Everything that a component does repeatedly, once.
    async fn round(&mut self, machine: MachineId) {
        let (session, equinix) = (self.session, Some(&Provider::EQUINIX));
        internal::connection::plan_once(&mut self.conn)
            .await
            .unwrap();
        internal::session::heartbeat(&mut self.conn, &[session])
            .await
            .unwrap();
        assert!(
            internal::session::fence_check(&mut self.conn, session)
                .await
                .unwrap()
        );
        assert!(
            internal::session::is_alive(&mut self.conn, session)
                .await
                .unwrap()
        );

        let claimed = internal::work::claim(&mut self.conn, &START, equinix, session, 1)
            .await
            .unwrap();
        assert_eq!(claimed.unwrap().len(), 1);
        let held = internal::work::attempts_of(&mut self.conn, session)
            .await
            .unwrap();
        internal::work::attempt_state(&mut self.conn, &held[0])
            .await
            .unwrap();
        self.fail(&held[0], 1, "no answer").await;
        internal::work::attempt_state(&mut self.conn, &held[0])
            .await
            .unwrap();
        backoff::of(&mut self.conn, machine, &START).await.unwrap();
        self.advance(2).await;
        let attempt = self.claim_one(&START).await;
        self.finish(&attempt).await;
        let without_workflow = self.claim_machine(machine, &ACCESS).await;
        self.finish(&without_workflow).await;
        // It is still due, and would rest.
        let without_rest =
            "UPDATE work_item SET backoff_until = NULL, unproductive = 0, flapping = 0";
        self.db.run_sql(without_rest).await.unwrap();
        agent::listening(&mut self.conn).await.unwrap();
        hold::set(&mut self.conn, machine, "test").await.unwrap();
        hold::unset(&mut self.conn, machine).await.unwrap();
        hold::set_process(&mut self.conn, machine, &ACCESS, "test")
            .await
            .unwrap();
        hold::unset_process(&mut self.conn, machine, &ACCESS)
            .await
            .unwrap();

        for provider in [equinix, None] {
            let conn = &mut self.conn;
            retrieval::for_agent_start(conn, &ACCESS, provider, 1)
                .await
                .unwrap();
            retrieval::for_agent_recovery(conn, &RECOVERY, provider, 1)
                .await
                .unwrap();
        }
        internal::work::gates(&mut self.conn, &ACCESS, &[machine])
            .await
            .unwrap();
        internal::machine::lock_first_free(&mut self.conn, &[machine])
            .await
            .unwrap();
        internal::machine::lock(&mut self.conn, machine)
            .await
            .unwrap();
        let attempt = self.claim_machine(machine, &ACCESS).await;
        self.cancel(&attempt).await;
        let moment = std::time::Duration::from_millis(1);
        internal::work::pause_provider(
            &mut self.conn,
            &attempt,
            moment,
            "test",
            "too many requests",
        )
        .await
        .unwrap();

        self.write_tags(machine).await;
        self.replan_on_claim(machine).await;
        self.lose_a_session(machine).await;
        let keep_all = Retention {
            seconds: u32::MAX,
            attempts_per_machine: u32::MAX,
        };
        internal::history::trim(&mut self.conn, keep_all, None, 10)
            .await
            .unwrap();
        internal::history::surplus(&mut self.conn, keep_all, None, Some(10))
            .await
            .unwrap();
        self.keep_up().await;
        self.mend().await;
        connection::clock(&mut self.conn).await.unwrap();
        counts::fleet(&mut self.conn).await.unwrap();
        counts::processes(&mut self.conn).await.unwrap();
        self.read_lists(machine).await;
    }

    async fn read_lists(&mut self, machine: MachineId) {
        let (conn, session) = (&mut self.conn, self.session);
        session::page(conn, None, 1).await.unwrap();
        session::find(conn, session).await.unwrap();
        let all = ClaimedFilter::default();
        work::claimed(conn, &all, None, 1).await.unwrap();
        work::claimed_on(conn, machine).await.unwrap();
        internal::work::current_attempt(conn, machine, &START)
            .await
            .unwrap();
        work::poisoned(conn, None, 1).await.unwrap();
        work::causes(conn, None, None, 1).await.unwrap();
        work::resting(conn, 1).await.unwrap();
        work::longest_claimed(conn, &ClaimedFilter::default(), None, 1)
            .await
            .unwrap();
        history::of_session(conn, session, None, 1).await.unwrap();
        overview::oldest_due(conn).await.unwrap();
        overview::claimed(conn).await.unwrap();
        overview::sessions(conn).await.unwrap();
        assert!(process::is_known(conn, &START).await.unwrap());
        assert!(process::known(conn).await.unwrap().contains(&RECOVERY));
        for which in [Which::Active, Which::Expired] {
            for process in [Some(&START), None] {
                backoff::page(conn, which, process, None, 1).await.unwrap();
            }
        }
        let action = NewAction::new(Verb::SetTag, "ann", None);
        internal::operator::record(conn, &action).await.unwrap();
        for scope in [Scope::All, Scope::Session(session)] {
            operator::page(conn, scope, None, 1).await.unwrap();
        }
        history::page(conn, machine, None, None, 1).await.unwrap();
        history::last_failures(conn, machine, &[&START], 1)
            .await
            .unwrap();
        gates::of(conn, machine).await.unwrap();
        self.list_the_fleet(machine).await;
        for definition in process::all(&mut self.conn).await.unwrap() {
            let counted = counts::pending(&mut self.conn, &definition).await;
            counted.unwrap();
        }
    }

    async fn list_the_fleet(&mut self, machine: MachineId) {
        let conn = &mut self.conn;
        connection::now(conn).await.unwrap();
        fleet::providers(conn).await.unwrap();
        let tables = custom_tags::tables(conn).await.unwrap();
        let (isolation, access) = (Isolation::RepeatableRead, Access::ReadOnly);
        internal::connection::begin(conn, isolation, access)
            .await
            .unwrap();
        custom_tags::tags(conn, machine, &tables).await.unwrap();
        custom_tags::present(conn, &[machine], &tables)
            .await
            .unwrap();
        let due = Filter {
            state: Some((START, ItemState::Due)),
            ..Filter::default()
        };
        let named = Filter {
            prefix: Some(Prefix::new("Equinix/a").unwrap()),
            ..Filter::default()
        };
        for filter in [due, named] {
            fleet::page(conn, &filter, None, 1).await.unwrap();
        }
        fleet::details(conn, &[machine]).await.unwrap();
        internal::connection::roll_back(conn).await.unwrap();
    }

    async fn write_tags(&mut self, machine: MachineId) {
        let conn = &mut self.conn;
        machine::touch(conn, &[machine]).await.unwrap();
        hardware::set(conn, machine, b"report").await.unwrap();
        os_installation::set_request(conn, machine, 1, b"request")
            .await
            .unwrap();
        os_installation::set_report(conn, machine, 1, Success, b"report")
            .await
            .unwrap();
        for tag in TagName::ALL {
            tag::unset(conn, machine, tag).await.unwrap();
        }
        let tag = Provided::new(Provider::EQUINIX, "a");
        provided::set(conn, machine, &tag).await.unwrap();
        provided::of_all(conn, &[machine]).await.unwrap();
        agent::set_started(conn, machine, &AgentStarted::now(b"key"))
            .await
            .unwrap();
        agent::set_heartbeat(conn, machine, None).await.unwrap();
        agent::advance_heartbeat(conn, machine, None).await.unwrap();
        agent::authenticate(conn, machine, b"key").await.unwrap();
        agent::unset(conn, machine).await.unwrap();
        for notify in [Notify::Off, Notify::On] {
            plan::replan_notifying(conn, &[machine], notify)
                .await
                .unwrap();
        }
        let (isolation, access) = (Isolation::ReadCommitted, Access::ReadWrite);
        internal::connection::begin(conn, isolation, access)
            .await
            .unwrap();
        internal::connection::check_not_aborted_and_commit(conn)
            .await
            .unwrap();
    }

    async fn replan_on_claim(&mut self, machine: MachineId) {
        let (conn, session) = (&mut self.conn, self.session);
        for provider in [Some(&Provider::EQUINIX), None] {
            internal::work::possibly_due(conn, &RECOVERY, provider, session)
                .await
                .unwrap();
            internal::work::open_queues(conn, &RECOVERY, provider, session, 1)
                .await
                .unwrap();
            internal::work::lock_due(conn, &RECOVERY, provider.into(), 1)
                .await
                .unwrap();
            internal::work::claim_planned(conn, &[machine], &RECOVERY, provider, session, 1)
                .await
                .unwrap();
        }
        let beat = [(machine, None)];
        internal::agent::set_heartbeats(conn, &beat).await.unwrap();
        internal::agent::advance_heartbeats(conn, Some(session), &beat)
            .await
            .unwrap();
        agent::unset(conn, machine).await.unwrap();
    }

    async fn keep_up(&mut self) {
        let (conn, task) = (&mut self.conn, Task::Plan);
        internal::maintenance::pending(conn, &[task]).await.unwrap();
        internal::maintenance::advance(conn, task, TaskProgress::default(), 0, None)
            .await
            .unwrap();
        internal::maintenance::lock(conn, task)
            .await
            .unwrap()
            .unwrap();
        internal::maintenance::postpone(conn, task, 0, "no reason")
            .await
            .unwrap();
        maintenance::of(conn, &[task]).await.unwrap();
        let count = Count {
            process: START,
            event: Event::Started,
            count: 2,
            waits: 1,
            waited_ms: 250,
        };
        internal::attempt_counts::add(conn, Uuid::from_u128(1), &[count])
            .await
            .unwrap();
        internal::attempt_counts::surplus(conn, 10).await.unwrap();
        internal::attempt_counts::trim(conn, 10).await.unwrap();
        attempt_counts::last_minutes(conn, 60).await.unwrap();
        internal::session::expired(conn).await.unwrap();
        process_control::of(conn, &START).await.unwrap();
        internal::process_control::resume(conn, &START, None)
            .await
            .unwrap();
    }

    /// What a janitor does after the clock was set back. Nothing is odd here.
    async fn mend(&mut self) {
        let conn = &mut self.conn;
        assert_eq!(overlong::all(conn).await.unwrap(), []);
        assert!(!set_back::lock(conn).await.unwrap());
        set_back::mend_controls(conn).await.unwrap();
        assert_eq!(set_back::heard_in_future(conn, None, 1).await.unwrap(), []);
        set_back::planned_in_future(conn, None, 1).await.unwrap();
        set_back::mend_agents(conn, &[]).await.unwrap();
        assert_eq!(set_back::mend_backoffs(conn, 1).await.unwrap(), 0);
        set_back::mended(conn).await.unwrap();
    }

    async fn lose_a_session(&mut self, machine: MachineId) {
        let conn = &mut self.conn;
        let session = internal::session::start(conn, "test", "", 5).await.unwrap();
        internal::work::claim_machine(conn, machine, &ACCESS, session)
            .await
            .unwrap()
            .unwrap();
        self.db.expire(session).await.unwrap();
        let expired = internal::session::lock_expired(conn, 1).await.unwrap();
        reclaim::items(conn, &expired).await.unwrap();
        let items = reclaim::lock_items(conn, &expired, 1).await.unwrap();
        reclaim::expire(conn, &[(items[0].clone(), 1)], &expired)
            .await
            .unwrap();
        internal::session::keep(conn, &expired).await.unwrap();
        internal::session::delete(conn, &expired).await.unwrap();
        self.advance(2).await;
    }
}

#[tokio::test]
async fn frequent_statements_are_prepared_once_and_reused() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.round(machine).await;
    let first = s.prepared().await;
    for _ in 0..9 {
        s.round(machine).await;
    }
    assert_eq!(s.prepared().await, first, "texts prepared in later rounds");
    let mut distinct = first.clone();
    distinct.dedup();
    assert_eq!(first, distinct);
}

#[tokio::test]
async fn every_statement_file_is_among_the_prepared_ones() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.round(machine).await;
    let prepared = s.prepared().await;
    let files = ["sql", "sql/finish", "sql/plan"].map(|folder| {
        let folder = format!("{}/src/{folder}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_dir(folder).unwrap()
    });
    let paths = files.into_iter().flatten().map(|file| file.unwrap().path());
    for path in paths.filter(|path| path.is_file()) {
        let sql = std::fs::read_to_string(&path).unwrap();
        // A comment stands for a part that the statement contains there.
        let mut parts = sql
            .split("/*")
            .map(|part| part.split_once("*/").map_or(part, |(_, part)| part));
        let found = parts.all(|part| {
            prepared
                .iter()
                .any(|statement| statement.contains(part.trim_end()))
        });
        assert!(
            found,
            "{} was not prepared with its text as it is",
            path.display()
        );
    }
    let of_any = prepared
        .iter()
        .filter(|statement| statement.contains("AND $2::text IS NULL"));
    assert_eq!(
        of_any.count(),
        4,
        "the claims for any provider, the look at their queue, and at the open ones"
    );
}
