//! A component that sends only the recorded statements of a release.

use super::Statements;
use bmdb_model::history::Outcome;
use bmdb_model::{Fence, MachineId, SessionId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage, SimpleQueryRow};

/// The interval of every failure, in seconds.
const INTERVAL: &str = "1";

/// How many conflicts in a row a transaction may have.
const TRIES: usize = 20;

/// What a writer did, according to the answers.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) claimed: Vec<(MachineId, Fence)>,
    pub(crate) ended: Vec<(MachineId, Fence, Outcome)>,
}

/// How often each statement was answered, over all writers, and when to stop.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    answered: Mutex<BTreeMap<String, u64>>,
    stop: AtomicBool,
}

impl Progress {
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits until every one of these statements has been answered again.
    pub(crate) async fn all_anew(&self, names: &BTreeSet<String>) {
        let before = self.answered.lock().unwrap().clone();
        let is_answered = |name: &String| {
            let answered = self.answered.lock().unwrap();
            answered.get(name) > before.get(name)
        };
        for _ in 0..6000 {
            if names.iter().all(is_answered) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let missing: Vec<_> = names.iter().filter(|name| !is_answered(name)).collect();
        panic!("the writers have stopped sending {missing:?}");
    }
}

pub(crate) struct Writer {
    client: Client,
    statements: Statements,
    progress: Arc<Progress>,
    session: String,
    journal: Journal,
}

type Values<'v> = [(&'v str, &'v str)];

impl Writer {
    /// Connects, prepares everything as a component's connection does, and starts a session.
    pub(crate) async fn start(url: &str, statements: Statements, progress: Arc<Progress>) -> Self {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        for (name, statement) in &statements {
            if name.starts_with("plan") {
                continue;
            }
            let types = statement.parameters.iter().map(|p| p.sql_type.as_str());
            let types: Vec<&str> = types.collect();
            let types = if types.is_empty() {
                String::new()
            } else {
                format!("({})", types.join(", "))
            };
            let prepare = format!("PREPARE {name}{types} AS {}", statement.sql);
            client.batch_execute(&prepare).await.unwrap();
        }
        let this = Self {
            client,
            statements,
            progress,
            session: SessionId::random().to_string(),
            journal: Journal::default(),
        };
        this.start_session(&this.session.clone()).await;
        this
    }

    /// Claims and ends work until it has to stop, and ends its claims.
    pub(crate) async fn run(mut self) -> Journal {
        for round in 0.. {
            if self.progress.stop.load(Ordering::Relaxed) {
                break;
            }
            let machine = self.provide().await;
            let claimed = self.claim().await;
            self.end(&claimed, round).await;
            if let Some(claimed) = self.claim_machine(&machine).await {
                self.end(&[claimed], round + 1).await;
            }
            self.heartbeat().await;
            self.beat(&machine).await;
            if round % 5 == 0 {
                self.lose_a_session().await;
            }
            // Two writers must leave time for a migration, even on one core.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.journal
    }

    async fn start_session(&self, session: &str) {
        let values = [
            ("session", session),
            ("component", "writer"),
            ("runtime", ""),
            ("interval", "3600"),
        ];
        self.send("start_session", &values).await.unwrap();
    }

    async fn heartbeat(&self) {
        let session = array([self.session.as_str()]);
        let sent = self.send("heartbeat", &[("sessions", &session)]).await;
        assert_eq!(sent.unwrap().len(), 1, "the session lives");
    }

    /// An agent's first heartbeat, which has to be inserted.
    async fn beat(&self, machine: &str) {
        let machines = array([machine]);
        let values = [
            ("session", self.session.as_str()),
            ("machines", &machines),
            ("times", "{NULL}"),
        ];
        let unmoved = self.retried("advance_heartbeats", &values).await;
        assert_eq!(unmoved[0].get("machine_id"), Some(machine));
    }

    /// Creates a machine with its tags, and plans it, in one transaction.
    async fn provide(&self) -> String {
        let machine = MachineId::random().to_string();
        let created = format!("INSERT INTO machines (machine_id) VALUES ('{machine}')");
        let machines = array([machine.as_str()]);
        let provided = [
            ("machine", machine.as_str()),
            ("provider", "Equinix"),
            ("provider_id", machine.as_str()),
        ];
        self.in_transaction(async || {
            let check = [("one", "1"), ("session", &self.session), ("limit", "1")];
            assert_eq!(self.send("fence_check", &check).await?.len(), 1);
            self.client.batch_execute(&created).await?;
            self.send("touch", &[("machines", &machines)]).await?;
            self.send("set_provided", &provided).await?;
            self.plan(&machines).await
        })
        .await;
        machine
    }

    /// Plans by the current definitions.
    async fn plan(&self, machines: &str) -> Result<(), tokio_postgres::Error> {
        let defined = self.send("definitions", &[]).await?;
        // Since the limits, a plan names the version of the definitions that it is made by.
        let version = defined.first().and_then(|row| row.try_get("version").ok()?);
        let skipped = usize::from(version.is_some());
        let value = |row: &'_ SimpleQueryRow, at: usize| row.get(skipped + at).unwrap().to_owned();
        let column = |at: usize| {
            let values: Vec<String> = defined.iter().map(|row| value(row, at)).collect();
            array(values.iter().map(String::as_str))
        };
        let mut plan = self.statements["plan"].sql.clone();
        let branch = &self.statements["plan_branch"].sql;
        let branches = defined.iter().zip(1..).map(|(row, n)| {
            branch
                .replace("{process}", &quoted(&value(row, 0)))
                .replace("{n}", &n.to_string())
                .replace("{view}", &value(row, 2))
        });
        let branches: String = branches.collect();
        plan = plan.replace("{workflows}", &branches);
        let (processes, lanes) = (column(0), column(1));
        let mut values = vec![machines, &processes, &lanes];
        if let Some(version) = version {
            values.insert(1, version);
        }
        for (at, value) in values.into_iter().enumerate() {
            plan = plan.replace(&format!("${}", at + 1), &quoted(value));
        }
        self.client.batch_execute(&plan).await?;
        self.answered("plan");
        Ok(())
    }

    async fn claim(&mut self) -> Vec<Claimed> {
        let values = [
            ("process", "ShepherdAgentStart"),
            ("provider", "Equinix"),
            ("session", &self.session),
            ("limit", "2"),
        ];
        let rows = self.retried("claim", &values).await;
        let claimed = rows.iter().filter(|row| row.get("machine_id").is_some());
        let claimed = claimed.map(|row| Claimed::new(row, "ShepherdAgentStart"));
        self.noted(claimed.collect())
    }

    async fn claim_machine(&mut self, machine: &str) -> Option<Claimed> {
        let values = [
            ("machine", machine),
            ("process", "Inventory"),
            ("session", &self.session),
        ];
        let rows = self.retried("claim_machine", &values).await;
        let claimed = rows.iter().map(|row| Claimed::new(row, "Inventory"));
        self.noted(claimed.collect()).pop()
    }

    fn noted(&mut self, claimed: Vec<Claimed>) -> Vec<Claimed> {
        let noted = claimed.iter().map(Claimed::id);
        self.journal.claimed.extend(noted);
        claimed
    }

    /// One after the other as failed, finished and canceled.
    async fn end(&mut self, claimed: &[Claimed], round: usize) {
        for (at, claimed) in claimed.iter().enumerate() {
            let outcome = [Outcome::Failed, Outcome::Finished, Outcome::Canceled][(round + at) % 3];
            let (machines, processes) = (array([&*claimed.machine]), array([claimed.process]));
            let (fences, starts) = (array([&*claimed.fence]), array([&*claimed.started]));
            let interval = array([INTERVAL]);
            let outcomes = array([outcome.to_string().as_str()]);
            let values = [
                ("machines", machines.as_str()),
                ("processes", &processes),
                ("fences", &fences),
                ("starts", &starts),
                ("delays", &interval),
                ("intervals", &interval),
                ("causes", "{no answer}"),
                ("folds", "{f}"),
                ("outcomes", &outcomes),
                ("rests", "{NULL}"),
                ("session", &self.session),
                ("checked", "f"),
            ];
            let name = match outcome {
                Outcome::Failed => "fail",
                _ => "release",
            };
            let ended = self.retried(name, &values).await;
            assert_eq!(ended[0].get("fence"), Some(&*claimed.fence), "{name}");
            let (machine, fence) = claimed.id();
            self.journal.ended.push((machine, fence, outcome));
        }
    }

    /// Expires a session with claimed work and reclaims its work as the janitor does.
    async fn lose_a_session(&mut self) {
        let lost = SessionId::random().to_string();
        self.start_session(&lost).await;
        let machine = self.provide().await;
        let values = [
            ("machine", &*machine),
            ("process", "Inventory"),
            ("session", &lost),
        ];
        self.retried("claim_machine", &values).await;
        let expire = format!(
            "UPDATE sessions SET session_deadline = clock_timestamp() - interval '1 s'
             WHERE session_id = '{lost}'"
        );
        self.client.batch_execute(&expire).await.unwrap();
        self.in_transaction(async || {
            let expired = self.send("lock_expired", &[("limit", "10")]).await?;
            let expired = array(expired.iter().map(|row| row.get(0).unwrap()));
            let sessions = ("sessions", expired.as_str());
            let items = self
                .send("expired_items", &[sessions, ("limit", "500")])
                .await?;
            let column = |name: &str| array(items.iter().map(|row| row.get(name).unwrap()));
            let delays = array(items.iter().map(|_| INTERVAL));
            let values = [
                ("machines", &*column("machine_id")),
                ("processes", &column("process")),
                ("delays", &delays),
                sessions,
            ];
            let freed = self.send("expire_items", &values).await?;
            assert_eq!(freed.len(), items.len());
            self.send("delete_sessions", &[sessions]).await.map(drop)
        })
        .await;
        let keep_all = [("limit", "10"), ("keep", "1000000"), ("seconds", "1000000")];
        self.retried("trim_history", &keep_all).await;
    }

    /// Runs until there is no conflict.
    async fn in_transaction(&self, run: impl AsyncFn() -> Result<(), tokio_postgres::Error>) {
        for _ in 0..TRIES {
            self.client.batch_execute("BEGIN").await.unwrap();
            let ran = run().await;
            let end = if ran.is_ok() { "COMMIT" } else { "ROLLBACK" };
            self.client.batch_execute(end).await.unwrap();
            match ran {
                Ok(()) => return,
                Err(error) => assert!(is_legal(&error), "{error:?}"),
            }
        }
        panic!("a transaction has lost {TRIES} times in a row");
    }

    async fn retried(&self, name: &str, values: &Values<'_>) -> Vec<SimpleQueryRow> {
        for _ in 0..TRIES {
            match self.send(name, values).await {
                Ok(rows) => return rows,
                Err(error) => assert!(is_legal(&error), "{name}: {error:?}"),
            }
        }
        panic!("{name} has lost {TRIES} times in a row");
    }

    /// Sends a statement; a parameter without a value is NULL.
    async fn send(
        &self,
        name: &str,
        values: &Values<'_>,
    ) -> Result<Vec<SimpleQueryRow>, tokio_postgres::Error> {
        let arguments = self.statements[name].parameters.iter().map(|parameter| {
            let value = values.iter().find(|(name, _)| *name == parameter.name);
            match value {
                Some((_, value)) => quoted(value),
                None if ["floor", "provider", "after"].contains(&parameter.name.as_str()) => {
                    "NULL".to_owned()
                }
                None => panic!("{name}: tell the writer what {} is", parameter.name),
            }
        });
        let arguments: Vec<String> = arguments.collect();
        let execute = match arguments.is_empty() {
            true => format!("EXECUTE {name}"),
            false => format!("EXECUTE {name}({})", arguments.join(", ")),
        };
        let messages = self.client.simple_query(&execute).await?;
        self.answered(name);
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Ok(rows.collect())
    }

    fn answered(&self, name: &str) {
        let mut answered = self.progress.answered.lock().unwrap();
        *answered.entry(name.to_owned()).or_default() += 1;
    }
}

/// What a component tries again: deadlocks, and claims of a lane that was just taken.
fn is_legal(error: &tokio_postgres::Error) -> bool {
    let Some(db) = error.as_db_error() else {
        return false;
    };
    let lane_taken =
        *db.code() == SqlState::UNIQUE_VIOLATION && db.constraint() == Some("work_item_lane");
    *db.code() == SqlState::T_R_DEADLOCK_DETECTED || lane_taken
}

struct Claimed {
    machine: String,
    process: &'static str,
    fence: String,
    started: String,
}

impl Claimed {
    fn new(row: &SimpleQueryRow, process: &'static str) -> Self {
        let column = |name: &str| row.get(name).unwrap().to_owned();
        Self {
            machine: column("machine_id"),
            process,
            fence: column("fence"),
            started: column("started_at"),
        }
    }

    fn id(&self) -> (MachineId, Fence) {
        let fence = Fence::new(self.fence.parse().unwrap());
        (self.machine.parse().unwrap(), fence)
    }
}

fn array<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let values = values.into_iter().map(|value| format!("\"{value}\""));
    format!("{{{}}}", values.collect::<Vec<_>>().join(","))
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
