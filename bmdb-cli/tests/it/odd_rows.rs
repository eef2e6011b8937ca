//! Rows that people write by SQL: infinite times, years before Christ, numbers at their limits and texts
//! with control characters spoil their own line only.
//!
//! `machine_hold.since = 'infinity'` once made every list, page and claim of the fleet fail.

use crate::bmdb::{bmdb, worker};
use crate::serve::Serving;
use bmdb_core::Claim;
use bmdb_model::{AgentHeartbeat, MachineId, Process, Provider};
use bmdb_testkit::TestDb;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// Two machines with every tag, a row in every other table, and one machine that nobody has touched.
struct Fixture {
    db: TestDb,
    good: MachineId,
    odd: MachineId,
}

impl Fixture {
    async fn new() -> Self {
        let db = TestDb::new().await.unwrap();
        let good = db.machine().provided(&Provider::EQUINIX, "good");
        let good = good
            .agent_heartbeat(MINUTE)
            .planned()
            .create()
            .await
            .unwrap();
        let mut odd = Vec::new();
        for id in ["odd", "odd too"] {
            let machine = db.machine().provided(&Provider::EQUINIX, id);
            let machine = machine
                .agent_started(40 * MINUTE)
                .agent_heartbeat(20 * MINUTE);
            let machine = machine
                .hardware_report(b"raw")
                .os_installation_request(1, b"raw");
            odd.push(machine.planned().create().await.unwrap());
        }
        let session = db.session(20 * MINUTE).await.unwrap();
        let [odd, queued] = odd[..] else {
            unreachable!("there are two")
        };
        db.run_sql(&format!(
            "UPDATE sessions SET session_component_name = 'odd';
             INSERT INTO machine_hold (machine_id, reason) VALUES ('{odd}', 'odd');
             INSERT INTO process_def (process, lane) VALUES ('Odd', 'odd');
             INSERT INTO work_item (machine_id, process, lane, provider, session_id, started_at, fence)
             VALUES ('{odd}', 'Odd', 'odd', 'Equinix', '{session}', now(), 7);
             INSERT INTO work_item (machine_id, process, lane, provider, eligible, plan_at, backoff_until, cause, failures)
             VALUES ('{queued}', 'Odd', 'odd', 'Equinix', true, now(), now() + interval '1 h', 'odd', 3);
             INSERT INTO work_item (machine_id, process, lane, hold_reason, hold_since)
             VALUES ('{odd}', 'OddToo', 'odd-too', 'odd', now());
             INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id, started_at, ended_at,
                                       outcome, cause, interval_seconds)
             VALUES ('{odd}', 5, 6, 'Odd', '{session}', now(), now(), 'Failed', 'odd', 30),
                    ('{queued}', 4, 4, 'Odd', '{session}', now(), now(), 'Finished', NULL, NULL);
             INSERT INTO operator_action (machine_id, process, session_id, verb, operator, reason, details)
             VALUES ('{odd}', 'Odd', '{session}', 'ClearBackoff', 'odd', 'odd', '{{\"a\": {{\"b\": [1]}}}}'),
                    (NULL, 'Odd', NULL, 'PauseProcess', 'odd', 'odd', '{{}}');
             INSERT INTO process_control VALUES ('Odd');
             INSERT INTO process_limit (process, per, max_running, max_starts, window_seconds)
             VALUES ('Odd', 'provider', 5, 5, 60);
             INSERT INTO process_slot (process, per, partition, kind, number, machine_id, taken_at, free_at)
             VALUES ('Odd', 'provider', 'Equinix', 'Start', 1, '{odd}', now(), now() + interval '1 min');
             INSERT INTO process_breaker (process, per, max_failures, failures_window_seconds)
             VALUES ('Odd', 'provider', 5, 60);
             INSERT INTO process_breaker_state (process, per, partition, due, population, evaluated_at)
             VALUES ('Odd', 'provider', 'Equinix', 1, 2, now());
             INSERT INTO process_failures VALUES ('Odd', 'provider', 'Equinix', now(), '{odd}');
             INSERT INTO process_pause (process, provider, paused_by, reason) VALUES ('Odd', 'Lumen', 'odd', 'odd');
             INSERT INTO plan_failure (process, workflow, machine_id, error) VALUES ('Odd', 'odd', '{odd}', 'odd');
             INSERT INTO agent_listening (provider, since) VALUES ('Odd', now());
             INSERT INTO agent_listener (session_id, provider) VALUES ('{session}', 'Odd');
             INSERT INTO attempt_tally VALUES (date_trunc('minute', now()), 'Odd', 'Failed', gen_random_uuid(), 1, 1, 1),
                                              (date_trunc('minute', now()), 'Odd', 'Failed', gen_random_uuid(), 1, 1, 1);
             CREATE TABLE machine_rack (machine_id uuid PRIMARY KEY REFERENCES machines, rack text, moved timestamptz,
                                        height bigint);
             INSERT INTO machine_rack VALUES ('{odd}', 'r', now(), 1)"
        ))
        .await
        .unwrap();
        Self { db, good, odd }
    }

    /// Writes a value into every column of this type, in all rows but those of the good machine. What a
    /// constraint refuses stays as it was.
    async fn write(&self, sql_type: &str, value: &str) {
        let good = self.good;
        self.db
            .run_sql(&format!(
                "DO $$ DECLARE c record; written integer := 0; BEGIN
                 FOR c IN SELECT k.table_name, k.column_name,
                                 CASE WHEN EXISTS (SELECT FROM information_schema.columns m
                                                   WHERE (m.table_schema, m.table_name) = (k.table_schema, k.table_name)
                                                     AND m.column_name = 'machine_id')
                                      THEN 'machine_id IS DISTINCT FROM ''{good}''' ELSE 'true' END
                                 || CASE WHEN EXISTS (SELECT FROM information_schema.columns m
                                                      WHERE (m.table_schema, m.table_name) = (k.table_schema, k.table_name)
                                                        AND m.column_name = 'process')
                                         THEN ' AND process LIKE ''%Odd%''' ELSE '' END AS condition
                          FROM information_schema.columns k
                          JOIN information_schema.tables t USING (table_schema, table_name)
                          WHERE k.table_schema = current_schema() AND t.table_type = 'BASE TABLE'
                            AND k.is_generated = 'NEVER' AND k.is_identity = 'NO' AND k.data_type = '{sql_type}'
                            AND k.column_name NOT IN ('version', 'oldest_compatible')
                            AND k.table_name NOT IN ('upkeep', 'definitions_version', '__diesel_schema_migrations')
                            -- The good machine's plan is under these names.
                            AND (k.table_name, k.column_name) NOT IN (('process_def', 'process'))
                 LOOP
                     BEGIN
                         EXECUTE format('UPDATE %I SET %I = %L WHERE %s', c.table_name, c.column_name, '{value}',
                                        c.condition);
                         written := written + 1;
                     EXCEPTION WHEN integrity_constraint_violation OR data_exception OR program_limit_exceeded THEN
                         NULL;
                     END;
                 END LOOP;
                 ASSERT written > 5, written::text;
                 END $$"
            ))
            .await
            .unwrap();
    }

    /// Runs everything that reads many rows, and requires that the good machine is there.
    async fn check(&self, what: &str) {
        let (db, good, odd) = (&self.db, self.good.to_string(), self.odd.to_string());
        let lists: [(&[&str], bool); 26] = [
            (&["machine", "list"], true),
            (
                &["machine", "list", "--tag", "machine_provided", "--all"],
                true,
            ),
            (&["machine", "list", "--provider", "Equinix"], true),
            (
                &[
                    "machine",
                    "list",
                    "--process",
                    "ShepherdAgentStart",
                    "--state",
                    "due",
                ],
                true,
            ),
            (
                &[
                    "machine",
                    "list",
                    "--process",
                    "Odd",
                    "--state",
                    "backing-off",
                ],
                false,
            ),
            (
                &["machine", "list", "--process", "Odd", "--state", "claimed"],
                false,
            ),
            (&["machine", "list", "--tag", "machine_hold"], false),
            (&["machine", "show", &good], true),
            (&["machine", "show", &odd], false),
            (&["why", &good, "ShepherdAgentStart"], false),
            (&["why", &odd, "Odd"], false),
            (&["why", &odd, "ShepherdRecovery"], false),
            (&["history", &good], false),
            (&["history", &odd], false),
            (&["history", "--causes"], false),
            (&["session", "list"], false),
            (&["work", "list"], false),
            (&["work", "list", "--stuck"], false),
            (&["backoff", "list"], false),
            (&["process", "list"], false),
            (&["process", "show", "Odd"], false),
            (&["process", "show", "ShepherdRecovery"], false),
            (&["agent", "listening"], false),
            (&["stats"], false),
            (&["janitor", "--dry-run"], false),
            (&["janitor", "--once"], false),
        ];
        let mut wrong = Vec::new();
        for (args, has_good) in lists {
            let json = bmdb(db).args(args).args(["--json"]).output();
            let text = bmdb(db).args(args).output();
            let is_read = [&json, &text].iter().all(|ran| ran.code == Some(0));
            let is_json = serde_json::from_str::<serde_json::Value>(&json.stdout).is_ok();
            let is_there = !has_good || json.stdout.contains(&good);
            let is_plain = text.stdout.chars().all(|c| !c.is_control() || c == '\n');
            if !(is_read && is_json && is_there && is_plain) {
                wrong.push(format!("{args:?}: {} {text:?}", json.stderr));
            }
        }
        self.pages(&mut wrong);
        self.claims(&mut wrong).await;
        assert!(wrong.is_empty(), "{what:?}:\n{}", wrong.join("\n"));
    }

    fn pages(&self, wrong: &mut Vec<String>) {
        let server = Serving::start(&self.db, &[]);
        let machine = |id: MachineId| format!("/machines/{id}");
        for page in [
            "/",
            "/machines",
            "/processes",
            "/processes/Odd",
            "/processes/ShepherdRecovery",
            "/sessions",
            "/work",
            "/backoffs",
            "/metrics",
            "/readyz",
            &machine(self.good),
            &machine(self.odd),
        ] {
            let answer = server.get(page, "");
            let is_listed = page != "/machines" || answer.contains(&self.good.to_string());
            if !answer.starts_with("HTTP/1.1 200") || !is_listed {
                wrong.push(format!("{page}: {answer}"));
            }
        }
    }

    /// Claims and ends work of the good machine, and writes heartbeats.
    async fn claims(&self, wrong: &mut Vec<String>) {
        let (bmdb, session) = worker(&self.db, "tester").await;
        let beat: AgentHeartbeat = (self.good, None);
        match session.heartbeat_agents(&[beat]).await {
            Ok(unknown) if unknown.is_empty() => {}
            other => wrong.push(format!("heartbeat: {other:?}")),
        }
        for process in ["ShepherdAgentStart", "ShepherdRecovery", "Odd"] {
            let process = Process::new(process).unwrap();
            let claimed = match session.claim(&Claim::of(&process).limit(10)).await {
                Ok(claimed) => claimed,
                Err(error) => {
                    wrong.push(format!("claim of {process}: {error}"));
                    continue;
                }
            };
            let has_good = claimed.iter().any(|work| work.machine() == self.good);
            if process == Process::SHEPHERD_AGENT_START && !has_good {
                wrong.push(format!("claim of {process}: {claimed:?}"));
            }
            for work in claimed {
                if let Err(error) = work.cancel().await {
                    wrong.push(format!("end of {process}: {error}"));
                }
            }
        }
        session.close().await.unwrap();
        drop(bmdb);
    }
}

#[tokio::test]
async fn times_that_no_calendar_has_spoil_their_own_line_only() {
    for time in [
        "infinity",
        "-infinity",
        "0044-03-15 00:00:00Z BC",
        "4714-11-24 00:00:00Z BC",
        "294276-12-31 23:59:59Z",
    ] {
        let fixture = Fixture::new().await;
        fixture.write("timestamp with time zone", time).await;
        fixture.check(time).await;
    }
}

#[tokio::test]
async fn numbers_at_their_limits_spoil_their_own_line_only() {
    for number in ["9223372036854775807", "-9223372036854775808", "0"] {
        let fixture = Fixture::new().await;
        fixture.write("bigint", number).await;
        fixture.check(number).await;
    }
}

#[tokio::test]
async fn texts_that_a_terminal_would_obey_spoil_their_own_line_only() {
    let hostile = "a\u{1b}[31m\u{7}\r\n\tb\u{202e}\u{2028}";
    let long = "x".repeat(2_000);
    for text in ["", hostile, "no name", &long] {
        let fixture = Fixture::new().await;
        fixture.write("text", text).await;
        fixture.check(text).await;
    }
}
