//! Records the statements that this release sends.

use super::{Parameter, Statement, print};
use crate::scenario::{ACCESS, START, Scenario, attempt, failed};
use bmdb_model::history::Retention;
use bmdb_model::internal::notify::Notify;
use bmdb_model::internal::{self, history, plan, reclaim, session, work};
use bmdb_model::{MachineId, Provider, agent, machine};
use diesel::QueryableByName;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;

#[tokio::test]
async fn the_statements_of_this_release_are_recorded() {
    let sent = Recorder::all().await;
    let version = bmdb_model::migration::newest_known();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../statements");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(version, print(&sent)));
}

/// What comes before the planning statement's branches for workflows, at the end of each, and after them.
const WANTED: &str = "wanted AS (";
const UNION_ALL: &str = "UNION ALL";
const LAST_BRANCH: &str = "\n    SELECT m.machine_id, i.process, i.lane";

const SET_PROVIDED: &str = "\
INSERT INTO machine_provided (machine_id, provider, provider_id, provider_reservation_id,
    provider_ip_address, provider_location, provider_status)
VALUES ($1, $2, $3, NULL, NULL, NULL, NULL)
ON CONFLICT (machine_id) DO UPDATE
SET provider = $2, provider_id = $3, provider_reservation_id = NULL, provider_ip_address = NULL,
    provider_location = NULL, provider_status = NULL";

#[derive(QueryableByName)]
struct Prepared {
    #[diesel(sql_type = Text)]
    statement: String,
    #[diesel(sql_type = Text)]
    types: String,
}

struct Recorder {
    s: Scenario,
    known: Vec<String>,
    sent: Vec<(&'static str, Statement)>,
    /// Statements whose number of parameters differs from the number of names given.
    misnamed: Vec<String>,
}

impl Recorder {
    async fn all() -> Vec<(&'static str, Statement)> {
        let s = Scenario::new().await;
        let mut this = Self {
            s,
            known: Vec::new(),
            sent: Vec::new(),
            misnamed: Vec::new(),
        };
        this.session().await;
        let machine = this.tags().await;
        this.planning(machine).await;
        this.work(machine).await;
        this.janitor(machine).await;
        assert!(this.misnamed.is_empty(), "{:#?}", this.misnamed);
        this.sent
    }

    /// Records the statement that was prepared since the last call, under this name.
    async fn is(&mut self, name: &'static str, parameters: &str) {
        let mut new = self.prepared().await;
        assert_eq!(
            new.len(),
            1,
            "{name} is one prepared statement: {:?}",
            new.iter().map(|p| &p.statement).collect::<Vec<_>>()
        );
        let Prepared { statement, types } = new.remove(0);
        self.known.push(statement.clone());
        let names: Vec<&str> = parameters.split_whitespace().collect();
        let types: Vec<&str> = types.split(',').filter(|name| !name.is_empty()).collect();
        if names.len() != types.len() {
            self.misnamed.push(format!("{name}{types:?}: {statement}"));
        }
        let parameters = names.iter().zip(types).map(|(name, sql_type)| Parameter {
            name: (*name).to_owned(),
            sql_type: sql_type.to_owned(),
        });
        let statement = Statement {
            parameters: parameters.collect(),
            sql: statement,
        };
        self.sent.push((name, statement));
    }

    async fn prepared(&mut self) -> Vec<Prepared> {
        let sql = "SELECT statement, array_to_string(parameter_types, ',') AS types
                   FROM pg_prepared_statements";
        let prepared = diesel::sql_query(sql).load(&mut self.s.conn).await;
        let mut prepared: Vec<Prepared> = prepared.unwrap();
        prepared.retain(|new| !self.known.contains(&new.statement) && new.statement != sql);
        prepared
    }

    /// Ignores what was prepared since the last call.
    async fn skip(&mut self) {
        let new = self.prepared().await;
        self.known.extend(new.into_iter().map(|new| new.statement));
    }

    async fn session(&mut self) {
        let session = session::start(&mut self.s.conn, "test", "", 5)
            .await
            .unwrap();
        self.is("start_session", "session component runtime interval")
            .await;
        session::heartbeat(&mut self.s.conn, &[session])
            .await
            .unwrap();
        self.is("heartbeat", "sessions").await;
        session::fence_check(&mut self.s.conn, session)
            .await
            .unwrap();
        self.is("fence_check", "session").await;
    }

    async fn tags(&mut self) -> MachineId {
        let machine = self.s.provided("a").await;
        let conn = &mut self.s.conn;
        machine::touch(conn, &[machine]).await.unwrap();
        self.is("touch", "machines").await;
        // Diesel does not prepare statements with ON CONFLICT, so this one is written here.
        let tag = Statement {
            parameters: ["machine uuid", "provider text", "provider_id text"]
                .map(|text| text.split_once(' ').unwrap())
                .map(|(name, sql_type)| Parameter {
                    name: name.to_owned(),
                    sql_type: sql_type.to_owned(),
                })
                .to_vec(),
            sql: SET_PROVIDED.to_owned(),
        };
        self.sent.push(("set_provided", tag));
        internal::agent::set_heartbeats(&mut self.s.conn, &[(machine, None)])
            .await
            .unwrap();
        self.skip().await;
        let beat = [(machine, None)];
        let session = Some(self.s.session);
        internal::agent::advance_heartbeats(&mut self.s.conn, session, &beat)
            .await
            .unwrap();
        self.is("advance_heartbeats", "session machines times")
            .await;
        agent::unset(&mut self.s.conn, machine).await.unwrap();
        self.skip().await;
        machine
    }

    /// The planning statement is built from the current definitions.
    async fn planning(&mut self, machine: MachineId) {
        let definitions = plan::definitions(&mut self.s.conn).await.unwrap();
        self.is("definitions", "").await;
        plan::replan_by(&mut self.s.conn, &[machine], &definitions, Notify::Off)
            .await
            .unwrap();
        self.is("plan", "machines version processes lanes").await;
        let (_, plan) = self.sent.pop().unwrap();
        let (head, rest) = plan.sql.split_once(WANTED).unwrap();
        let (branches, tail) = rest.split_once(LAST_BRANCH).unwrap();
        let branches = branches.split_inclusive(UNION_ALL).zip(1..);
        let branches: Vec<String> = branches
            .zip(["workflow_agent_start", "workflow_agent_recovery"])
            .map(|((branch, n), view)| {
                branch
                    .replace(&format!("[{n}]"), "[{n}]")
                    .replace(view, "{view}")
            })
            .collect();
        assert_eq!(branches[0], branches[1], "one branch for each workflow");
        for (name, sql) in [
            (
                "plan",
                format!("{head}{WANTED}{{workflows}}{LAST_BRANCH}{tail}"),
            ),
            ("plan_branch", branches[0].clone()),
        ] {
            let parameters = Vec::new();
            self.sent.push((name, Statement { parameters, sql }));
        }
    }

    async fn work(&mut self, machine: MachineId) {
        let session = self.s.session;
        let equinix = Some(&Provider::EQUINIX);
        let claimed = work::claim(&mut self.s.conn, &START, equinix, session, 1).await;
        self.is("claim", "process provider floor session limit")
            .await;
        let claimed = attempt(&claimed.unwrap().unwrap()[0], &START, session);
        work::fail(&mut self.s.conn, &claimed, &failed(1, "no answer"))
            .await
            .unwrap();
        self.is(
            "fail",
            "machines processes fences starts delays intervals causes folds session",
        )
        .await;
        let claimed = self.s.claim_machine(machine, &ACCESS).await;
        self.is("claim_machine", "machine process session").await;
        self.s.cancel(&claimed).await;
        self.is(
            "release",
            "machines processes fences starts outcomes rests causes folds session checked",
        )
        .await;
    }

    async fn janitor(&mut self, machine: MachineId) {
        let session = session::start(&mut self.s.conn, "test", "", 5)
            .await
            .unwrap();
        work::claim_machine(&mut self.s.conn, machine, &ACCESS, session)
            .await
            .unwrap();
        self.s.db.expire(session).await.unwrap();
        let expired = session::lock_expired(&mut self.s.conn, 1).await.unwrap();
        self.is("lock_expired", "limit").await;
        let items = reclaim::lock_items(&mut self.s.conn, &expired, 500)
            .await
            .unwrap();
        self.is("expired_items", "sessions limit").await;
        reclaim::expire(&mut self.s.conn, &[(items[0].clone(), 1)], &expired)
            .await
            .unwrap();
        self.is("expire_items", "machines processes delays sessions")
            .await;
        session::delete(&mut self.s.conn, &expired).await.unwrap();
        self.is("delete_sessions", "sessions").await;
        let keep_all = Retention {
            seconds: u32::MAX,
            attempts_per_machine: u32::MAX,
        };
        history::trim(&mut self.s.conn, keep_all, None, 10)
            .await
            .unwrap();
        self.is("trim_history", "after limit keep seconds").await;
    }
}
