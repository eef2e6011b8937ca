//! The program under test.
//!
//! ```ignore
//! let ran = bmdb(&db).args(["machine", "list", "--json"]).run();
//! insta::assert_json_snapshot!(ran.redacted());
//! bmdb(&db).args(["machine", "show", "ffff"]).fails_with(3, "no machine");
//! ```

use bmdb_core::{Config, Session, SessionOptions};
use bmdb_model::{MachineId, Provider};
use bmdb_testkit::TestDb;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::ffi::OsStr;
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// One run of `bmdb`, without the environment's settings for the database and for colours.
pub(crate) struct Bmdb {
    command: Command,
    stdin: Vec<u8>,
}

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The program on the test's database, with the suite's usual privileges.
pub(crate) fn bmdb(db: &TestDb) -> Bmdb {
    at(db.url())
}

/// The program on the test's database, as its owner, who may migrate.
pub(crate) fn as_owner(db: &TestDb) -> Bmdb {
    at(db.admin_url())
}

/// The program on the database at this URL.
pub(crate) fn at(url: &str) -> Bmdb {
    nowhere().env("BMDB_DATABASE_URL", url)
}

/// The program without a database.
pub(crate) fn nowhere() -> Bmdb {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bmdb"));
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        let is_setting = ["BMDB_", "PG"]
            .iter()
            .any(|prefix| name_text.starts_with(prefix));
        if is_setting
            || [
                "RUST_LOG",
                "NO_COLOR",
                "CLICOLOR_FORCE",
                "COLUMNS",
                "LANG",
                "LC_ALL",
                "LC_CTYPE",
            ]
            .contains(&&*name_text)
        {
            command.env_remove(&name);
        }
    }
    command.env("BMDB_OPERATOR", "tester");
    Bmdb {
        command,
        stdin: Vec::new(),
    }
}

/// Creates a machine of Equinix that is due for ShepherdAgentStart.
pub(crate) async fn due_machine(db: &TestDb, id: &str) -> MachineId {
    let machine = db.machine().provided(&Provider::EQUINIX, id).planned();
    machine.create().await.unwrap()
}

/// A component without a janitor, and its session.
pub(crate) async fn worker(db: &TestDb, component: &str) -> (bmdb_core::Bmdb, Session) {
    let config = Config::new(db.url())
        .component(component)
        .janitor_interval(None);
    let bmdb = bmdb_core::Bmdb::connect(config).await.unwrap();
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    (bmdb, session)
}

/// Sends the program a signal.
pub(crate) fn signal(child: &Child, signal: Signal) {
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, signal).unwrap();
}

/// Waits until the query has rows.
pub(crate) async fn until(db: &TestDb, query: &str) {
    while db.rows(query).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Locks these tables, which include `machines`, until the task is aborted.
pub(crate) async fn locked(db: &Arc<TestDb>, tables: &str) -> JoinHandle<()> {
    let lock = format!("BEGIN; LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60)");
    let holder = db.clone();
    let holder = tokio::spawn(async move { holder.run_sql(&lock).await.unwrap() });
    let granted = "SELECT 1 FROM pg_locks WHERE relation = 'machines'::regclass \
                   AND mode = 'AccessExclusiveLock' AND granted";
    until(db, granted).await;
    holder
}

impl Bmdb {
    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets standard input, which is empty by default.
    pub(crate) fn stdin(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.stdin = text.into();
        self
    }

    /// The command, for a test that handles the process itself.
    pub(crate) fn command(self) -> Command {
        self.command
    }

    /// Runs it until it exits, with any exit code.
    pub(crate) fn output(mut self) -> Ran {
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let text = self.stdin;
        let writer = std::thread::spawn(move || {
            // A program that fails early does not read all of it.
            let _ = stdin.write_all(&text);
        });
        let ended = child.wait_with_output().unwrap();
        writer.join().unwrap();
        ended.into()
    }

    /// Runs it and requires success.
    pub(crate) fn run(self) -> Ran {
        let ran = self.output();
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran
    }

    /// Runs it and requires this exit code and this text on standard error.
    pub(crate) fn fails_with(self, code: i32, what: &str) -> Ran {
        let ran = self.output();
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(ran.stderr.contains(what), "{what:?} is not in {ran:?}");
        ran
    }
}

impl Ran {
    /// Standard output as one JSON value.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// Standard output as JSON for a snapshot, without values that differ from run to run.
    pub(crate) fn redacted(&self) -> Value {
        let mut value = self.json();
        redact(&mut value, &mut Vec::new());
        value
    }
}

/// Replaces times by `[time]` and ids by `[id 1]`, `[id 2]`, … in the order of their appearance.
fn redact(value: &mut Value, ids: &mut Vec<String>) {
    match value {
        Value::String(text) if text.parse::<MachineId>().is_ok() => {
            let known = ids.iter().position(|id| id == text);
            let number = known.unwrap_or_else(|| {
                ids.push(text.clone());
                ids.len() - 1
            });
            *text = format!("[id {}]", number + 1);
        }
        Value::String(text) if chrono::DateTime::parse_from_rfc3339(text).is_ok() => {
            assert!(text.ends_with('Z'), "{text} is not in UTC");
            *text = "[time]".to_owned();
        }
        Value::Array(values) => values.iter_mut().for_each(|value| redact(value, ids)),
        Value::Object(fields) => fields.values_mut().for_each(|value| redact(value, ids)),
        _ => {}
    }
}

/// The value with `[seconds]` in this field, whose value differs from run to run.
pub(crate) fn without(mut value: Value, field: &str) -> Value {
    fn visit(value: &mut Value, field: &str) {
        match value {
            Value::Object(object) => {
                for (name, value) in object {
                    match name == field {
                        true => *value = "[seconds]".into(),
                        false => visit(value, field),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| visit(item, field)),
            _ => {}
        }
    }
    visit(&mut value, field);
    value
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}
