//! The whole of `docs/cli/json.md`: runs every command in it, with an answer for every field.

use crate::bmdb::{Ran, as_owner, bmdb, due_machine};
use crate::machine::FLEET;
use crate::schemas::Seen;
use crate::serve::Serving;
use bmdb_model::internal::work;
use bmdb_model::{MachineId, Process, SessionId};
use bmdb_testkit::TestDb;
use std::time::Duration;

const START: &str = "ShepherdAgentStart";

/// Claims the machine; returns the session and the fence.
async fn claim(db: &TestDb, machine: MachineId) -> (SessionId, String) {
    let session = db.session(Duration::from_secs(3600)).await.unwrap();
    let mut conn = db.connect().await.unwrap();
    let process = Process::SHEPHERD_AGENT_START;
    let claimed = work::claim_machine(&mut conn, machine, &process, session).await;
    (session, claimed.unwrap().unwrap().fence.get().to_string())
}

/// Starts a backoff on this machine.
async fn backoff(db: &TestDb, machine: &str) {
    let update = format!(
        "UPDATE work_item SET backoff_until = clock_timestamp() + interval '10 minutes', cause = 'no answer',
             failures = 2, last_interval_seconds = 600
         WHERE machine_id = '{machine}' AND process = '{START}'"
    );
    db.run_sql(&update).await.unwrap();
}

#[tokio::test]
async fn answers_have_the_documented_fields_and_no_others() {
    let db = TestDb::new().await.unwrap();
    let mut seen = Seen::default();
    let run = |args: &[&str]| bmdb(&db).args(args).args(["--json"]).run();
    migrations(&mut seen).await;

    let machine_id = due_machine(&db, "b").await;
    let id = &machine_id.to_string();
    let import = ["machine", "import", "-", "--skip-existing", "--json"];
    let imported = bmdb(&db).args(import).stdin(FLEET).run();
    seen.answer("bmdb machine import", &imported);
    seen.answer("bmdb machine create", &run(&["machine", "create"]));

    let (session, fence) = claim(&db, machine_id).await;
    let session = &session.to_string();
    let why = ["--reason", "fan"];
    let hold = [&["machine", "hold", id][..], &why].concat();
    seen.answer("bmdb machine hold", &run(&hold));
    let set = ["tag", "set", id, "hardware_report", "report=x"];
    seen.answer("bmdb tag set", &run(&set));
    seen.answer("bmdb tag list", &run(&["tag", "list"]));
    let action = format!(
        "INSERT INTO operator_action (verb, operator, session_id, details)
         VALUES ('EndSession', 'ann', '{session}', '{{\"component\": \"c\"}}')"
    );
    db.run_sql(&action).await.unwrap();
    let agents = run(&["agent", "listening"]);
    seen.answer("bmdb agent listening", &agents);
    let heartbeat = run(&["agent", "heartbeat", id]);
    seen.answer("bmdb agent heartbeat", &heartbeat);
    seen.answer("bmdb machine list", &run(&["machine", "list"]));
    seen.answer("bmdb machine show", &run(&["machine", "show", id]));
    seen.answer("bmdb session list", &run(&["session", "list"]));
    seen.answer("bmdb session show", &run(&["session", "show", session]));
    seen.answer("bmdb work list", &run(&["work", "list"]));
    seen.answer("bmdb why", &run(&["why", id, START]));
    seen.answer("bmdb stats", &run(&["stats"]));
    seen.answer("bmdb history", &run(&["history", id]));
    let release = ["work", "release", id, START, "--yes", "--if-fence", &fence];
    seen.answer("bmdb work release", &run(&[&release[..], &why].concat()));
    seen.answer("bmdb history", &run(&["history", id]));
    let of_session = ["history", "--session", session];
    seen.answer("bmdb history", &run(&of_session));
    seen.answer("bmdb history", &run(&["history"]));
    let unset = ["tag", "unset", id, "hardware_report", "--yes"];
    seen.answer("bmdb tag set", &run(&[&unset[..], &why].concat()));
    seen.answer("bmdb machine hold", &run(&["machine", "release", id]));

    processes(&db, &mut seen).await;

    backoff(&db, id).await;
    seen.answer("bmdb backoff list", &run(&["backoff", "list"]));
    seen.answer("bmdb history --causes", &run(&["history", "--causes"]));
    let retry = ["backoff", "retry-now", id, START];
    seen.answer("bmdb backoff clear", &run(&[&retry[..], &why].concat()));
    let clear = ["backoff", "clear", id, START, "--yes"];
    seen.answer("bmdb backoff clear", &run(&[&clear[..], &why].concat()));

    let (ended, _) = claim(&db, due_machine(&db, "y").await).await;
    let end = ["session", "end", &ended.to_string(), "--yes"];
    seen.answer("bmdb session end", &run(&[&end[..], &why].concat()));
    let (lost, _) = claim(&db, due_machine(&db, "z").await).await;
    db.expire(lost).await.unwrap();
    let dry_run = run(&["janitor", "--dry-run", "--keep-days=30"]);
    seen.answer("bmdb janitor --dry-run", &dry_run);
    seen.answer("bmdb janitor --once", &run(&["janitor", "--once"]));
    seen.answer("bmdb replan", &run(&["replan"]));
    let delete = ["machine", "delete", id, "--yes"];
    seen.answer("bmdb machine hold", &run(&[&delete[..], &why].concat()));
    let line = Serving::start(&db, &["--json"]).line.clone();
    seen.answer("bmdb serve", &printed(line));
    seen.covers_the_document();
}

/// Limits, breakers and pauses, with values in every field.
async fn processes(db: &TestDb, seen: &mut Seen) {
    let run = |args: &[&str]| {
        as_owner(db)
            .args(["process"])
            .args(args)
            .args(["--json"])
            .run()
    };
    let limit = [
        "limit",
        START,
        "--max-running",
        "5",
        "--max-starts",
        "9/10m",
    ];
    run(&limit);
    seen.answer("bmdb process limit", &run(&limit));
    let breaker = [
        "breaker",
        START,
        "--due",
        "50%",
        "--due-at-least",
        "9",
        "--failures",
        "9/1h",
    ];
    run(&breaker);
    seen.answer("bmdb process breaker", &run(&breaker));
    let held = due_machine(db, "held").await;
    let (_, fence) = claim(db, held).await;
    let reason = ["--reason", "fan"];
    let pause = [&["pause", START][..], &reason].concat();
    run(&pause);
    seen.answer("bmdb process pause", &run(&pause));
    seen.answer("bmdb process list", &run(&["list"]));
    seen.answer("bmdb process show", &run(&["show", START]));
    seen.answer("bmdb process resume", &run(&["resume", START]));
    for verb in ["limit", "breaker"] {
        run(&[verb, START, "--remove"]);
    }
    let held = held.to_string();
    let release = [
        "work",
        "release",
        &held,
        START,
        "--yes",
        "--if-fence",
        &fence,
    ];
    bmdb(db).args(release).args(reason).run();
    seen.answer(
        "bmdb process off",
        &run(&["off", "ShepherdRecovery", "--yes"]),
    );
    seen.answer("bmdb process off", &run(&["on", "ShepherdRecovery"]));
}

async fn migrations(seen: &mut Seen) {
    let db = TestDb::empty().await.unwrap();
    let run = |verb: &[&str]| {
        let migrate = as_owner(&db).args(["migrate"]).args(verb);
        migrate.args(["--json"]).run()
    };
    seen.answer("bmdb migrate up", &run(&["up"]));
    seen.answer("bmdb migrate status", &run(&["status"]));
    seen.answer("bmdb migrate grants", &run(&["grants"]));
    seen.answer("bmdb migrate down", &run(&["down", "--yes"]));
}

/// What a running program has printed so far.
fn printed(stdout: String) -> Ran {
    Ran {
        code: None,
        stdout,
        stderr: String::new(),
    }
}
