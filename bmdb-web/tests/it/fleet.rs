//! A fleet with every state: for the tests of pages, for browser tests, and for
//! `examples/seeded_console.rs`.
//!
//! Machines and sessions are always the same; times are relative to the time of the seed.

use bmdb_model::connection::{Access, AsyncPgConnection, Isolation};
use bmdb_model::internal::connection;
use bmdb_model::{MachineId, SessionId, machine, plan};
use bmdb_testkit::{TestDb, TestkitError};
use std::str::FromStr;

/// A value that injects markup into any page that does not escape it.
pub(crate) const HOSTILE: &str = "</td><script>alert(\"x\")</script> & 'quoted' \u{202e}desrever\u{2028}\u{200b}\u{e0041}\u{9b}2J";

pub(crate) const MACHINES: u32 = 64;

/// The ids of interesting machines and sessions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seeded {
    /// A machine with backoffs, a long history and all tags; it is poisoned.
    pub(crate) worst: MachineId,
    /// A machine that has been claimed for more than an hour.
    pub(crate) stuck: MachineId,
    /// A machine on hold.
    pub(crate) on_hold: MachineId,
    /// A machine without any tag.
    pub(crate) bare: MachineId,
    /// A live session with claimed machines.
    pub(crate) live: SessionId,
    pub(crate) expired: SessionId,
    /// A session that has ended: only an operator action on it is on record.
    pub(crate) ended: SessionId,
}

/// Writes the fleet. Needs the owner's privileges, because it creates a table and a process.
///
/// # Errors
/// [`TestkitError`].
pub(crate) async fn seed(db: &TestDb) -> Result<Seeded, TestkitError> {
    db.run_sql(TAGS).await?;
    plan_all(db).await?;
    let hostile = HOSTILE.replace('\'', "''");
    for part in [
        SESSIONS, UNLIMITED, CLAIMED, BACKOFFS, HISTORY, ACTIONS, STOPS, COUNTS,
    ] {
        db.run_sql(&part.replace("HOSTILE", &hostile)).await?;
    }
    Ok(Seeded {
        worst: numbered("beef", 7),
        stuck: numbered("beef", 1),
        on_hold: numbered("beef", 61),
        bare: numbered("beef", 64),
        live: numbered("cafe", 1),
        expired: numbered("cafe", 6),
        ended: numbered("cafe", 99),
    })
}

/// The id that `pg_temp.id` and `pg_temp.session` make from the same number.
fn numbered<T: FromStr>(kind: &str, number: u32) -> T {
    let id = format!("{number:08x}-{kind}-4000-8000-{number:012x}");
    let parsed = id.parse();
    parsed.unwrap_or_else(|_| unreachable!("{id} is an id"))
}

async fn plan_all(db: &TestDb) -> Result<(), TestkitError> {
    let mut conn = db.connect().await?;
    let planned = async |conn: &mut AsyncPgConnection| {
        connection::begin(conn, Isolation::ReadCommitted, Access::ReadWrite).await?;
        let machines = machine::page(conn, None, i64::from(MACHINES)).await?;
        machine::touch(conn, &machines).await?;
        plan::replan(conn, &machines).await?;
        connection::commit(conn).await
    };
    let planned = planned(&mut conn).await;
    planned.map_err(|error| TestkitError::Diesel(Box::new(error)))
}

/// Machines of two providers and of none; some have agents, reports, installations, or a custom tag.
const TAGS: &str = "
CREATE TABLE acme_burn_in (
    machine_id uuid PRIMARY KEY REFERENCES machines,
    result text NOT NULL, hottest_celsius double precision, checked_at timestamptz NOT NULL, notes jsonb
);
GRANT SELECT ON acme_burn_in TO PUBLIC;
INSERT INTO process_def (process, lane, workflow) VALUES ('AcmeBurnIn', 'burn-in', NULL);
CREATE FUNCTION pg_temp.id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT (lpad(to_hex(n), 8, '0') || '-beef-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid $$;
INSERT INTO machines (machine_id, machine_created_at)
    SELECT pg_temp.id(n), clock_timestamp() - n * interval '9 hours' FROM generate_series(1, 64) n;
INSERT INTO machine_provided (machine_id, provider, provider_id, provider_ip_address, provider_location,
                              provider_status, provider_reservation_id)
    SELECT pg_temp.id(n), CASE WHEN n % 4 = 0 THEN 'SiteB' ELSE 'SiteA' END,
           'rack' || lpad((1 + n / 8)::text, 2, '0') || '-u' || lpad((1 + 4 * (n % 8))::text, 2, '0'),
           '10.20.' || n / 250 || '.' || n % 250,
           (ARRAY['Hall 1', 'Hall 2', 'Hall 3', 'Hall 4'])[1 + n / 16],
           (ARRAY['Running', 'Running', 'Running', 'Provisioning', 'Stopped', 'Missing'])[1 + n % 6],
           CASE WHEN n % 3 = 0 THEN 'res-' || n END
    FROM generate_series(1, 62) n;
INSERT INTO machine_agent_started (machine_id, agent_started_at, agent_public_key)
    SELECT pg_temp.id(n), clock_timestamp() - n * interval '1 hour', decode(md5(n::text), 'hex')
    FROM generate_series(20, 60) n;
INSERT INTO machine_agent_heartbeat (machine_id, agent_heartbeat_at)
    SELECT pg_temp.id(n), clock_timestamp() - CASE WHEN n % 7 = 0 THEN n * interval '1 minute'
                                                   ELSE (n % 40) * interval '1 second' END
    FROM generate_series(20, 60) n;
INSERT INTO machine_hardware_report (machine_id, hardware_report_raw)
    SELECT pg_temp.id(n), decode(repeat(md5(n::text), 20), 'hex') FROM generate_series(25, 60) n;
INSERT INTO machine_os_installation_request (machine_id, generation, os_installation_request_raw)
    SELECT pg_temp.id(n), 1 + n % 3, 'image: v1' FROM generate_series(40, 60) n;
INSERT INTO machine_os_installation_report (machine_id, generation, os_installation_result,
                                            os_installation_report_raw)
    SELECT pg_temp.id(n), 1 + n % 3, CASE WHEN n = 50 THEN 'Error' ELSE 'Success' END, ''
    FROM generate_series(45, 60) n;
INSERT INTO acme_burn_in
    SELECT pg_temp.id(n), CASE WHEN n % 5 = 0 THEN 'too hot' ELSE 'passed' END, 55 + n % 40,
           clock_timestamp() - n * interval '3 hours', '{\"fans\": 8}'
    FROM generate_series(1, 30) n;
INSERT INTO machine_hold (machine_id, reason, since) VALUES
    (pg_temp.id(61), 'Memory is being replaced, ticket 4711', clock_timestamp() - interval '2 days'),
    (pg_temp.id(62), 'Kept for the postmortem of the fire in row 7', clock_timestamp() - interval '5 h');
";

/// Live sessions, an expired one, and one with hostile texts.
const SESSIONS: &str = "
CREATE FUNCTION pg_temp.session(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT (lpad(to_hex(n), 8, '0') || '-cafe-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid $$;
INSERT INTO sessions (session_id, session_component_name, session_runtime_info, session_created_at,
                      session_interval_seconds, session_deadline)
SELECT pg_temp.session(n), component, runtime, clock_timestamp() - age, 86400,
       clock_timestamp() + left_of_it
FROM (VALUES
    (1, 'agent-starter', 'pod agent-starter-6d5f-x2k9, v1.14.2', interval '3 days 2 h', interval '23 h'),
    (2, 'agent-starter', 'pod agent-starter-6d5f-r7c1, v1.14.2', interval '3 days 2 h', interval '23 h'),
    (3, 'recoverer', 'recoverer@ops-3.example.net, v1.14.1', interval '6 h', interval '23 h'),
    (4, 'burn-in', '', interval '40 min', interval '23 h'),
    (5, 'HOSTILE', 'HOSTILE', interval '5 min', interval '23 h'),
    (6, 'agent-starter', 'pod agent-starter-6d5f-dead, v1.14.0', interval '9 days', interval '-90 s')
) AS s (n, component, runtime, age, left_of_it);
";

/// The shipped limits would refuse what is claimed next.
const UNLIMITED: &str =
    "DELETE FROM process_breaker; DELETE FROM process_limit; DELETE FROM process_control";

const STOPS: &str = include_str!("fleet/stops.sql");

/// Claimed machines: fresh, stuck, of an expired session, and claimed without a queue.
const CLAIMED: &str = "
CREATE FUNCTION pg_temp.id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT (lpad(to_hex(n), 8, '0') || '-beef-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.session(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT (lpad(to_hex(n), 8, '0') || '-cafe-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid $$;
SELECT setval('work_fence', 1000000);
UPDATE work_item i
SET plan_at = clock_timestamp() - age - waited, session_id = pg_temp.session(s),
    started_at = clock_timestamp() - age, fence = nextval('work_fence'), failures = f, losses = l
FROM (VALUES
    (1, 1, interval '3 h 12 min', interval '4 s', 0, 0),
    (2, 1, interval '70 min', interval '41 s', 2, 0),
    (3, 2, interval '8 min', interval '2 s', 0, 0),
    (4, 2, interval '95 s', interval '320 ms', 0, 0),
    (5, 1, interval '12 s', interval '18 min', 1, 0),
    (6, 6, interval '4 min', interval '1 s', 0, 2),
    (9, 5, interval '30 s', interval '50 ms', 0, 0)
) AS h (n, s, age, waited, f, l)
WHERE i.machine_id = pg_temp.id(h.n) AND i.process = 'ShepherdAgentStart';
UPDATE work_item i SET session_id = pg_temp.session(3), started_at = clock_timestamp() - interval '20 s',
       fence = nextval('work_fence')
WHERE i.machine_id IN (pg_temp.id(21), pg_temp.id(28)) AND i.process = 'ShepherdRecovery';
INSERT INTO work_item (machine_id, process, lane, provider, session_id, started_at, fence)
SELECT pg_temp.id(n), 'AcmeBurnIn', 'burn-in', 'SiteA', pg_temp.session(4),
       clock_timestamp() - n * interval '1 min', nextval('work_fence')
FROM generate_series(10, 13) n;
";

/// Backoffs in force and expired, and poisoned machines.
const BACKOFFS: &str = "
CREATE FUNCTION pg_temp.id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT (lpad(to_hex(n), 8, '0') || '-beef-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid $$;
UPDATE work_item i
SET backoff_until = clock_timestamp() + opens, last_interval_seconds = interval_seconds, failures = f,
    losses = l, cause = c
FROM (VALUES
    (7, interval '2 h 40 min', 14400, 14, 0, 'ssh: connect to host 10.20.0.7 port 22: No route to host'),
    (8, interval '25 s', 60, 1, 0, 'the agent did not answer within 30 s'),
    (10, interval '7 min', 600, 4, 0, 'HOSTILE'),
    (11, interval '45 min', 3600, 7, 0, 'BMC refused the boot order: 403 Forbidden'),
    (12, interval '3 h', 14400, 23, 0, 'ssh: handshake failed: ' || repeat('unexpected packet, ', 20)),
    (14, interval '50 min', NULL::bigint, 0, 4, NULL),
    (15, interval '-3 min', 300, 3, 0, 'the agent did not answer within 30 s'),
    (16, interval '-1 h', 120, 2, 0, 'the provider answers 503 Service Unavailable'),
    (17, interval '-9 h', 14400, 11, 0, 'no such server')
) AS b (n, opens, interval_seconds, f, l, c)
WHERE i.machine_id = pg_temp.id(b.n) AND i.process = 'ShepherdAgentStart';
UPDATE work_item i SET backoff_until = clock_timestamp() + interval '11 min', last_interval_seconds = 900,
       failures = 3, cause = 'power cycle did not help'
WHERE i.machine_id = pg_temp.id(35) AND i.process = 'ShepherdRecovery';
";

/// Past attempts: many on one machine, and a few on others.
const HISTORY: &str = "
CREATE FUNCTION pg_temp.id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT (lpad(to_hex(n), 8, '0') || '-beef-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.session(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT (lpad(to_hex(n), 8, '0') || '-cafe-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid $$;
INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id, started_at, ended_at,
                          outcome, cause, repeats, interval_seconds)
SELECT pg_temp.id(7), 100000 + f, 100000 + f + repeats, 'ShepherdAgentStart', pg_temp.session(s),
       clock_timestamp() - ago - interval '30 s', clock_timestamp() - ago, outcome, cause, repeats, seconds
FROM (VALUES
    (1, 1, interval '4 days', 'Finished', NULL, 0, NULL::bigint),
    (2, 1, interval '30 h', 'Failed', 'the agent did not answer within 30 s', 0, 300),
    (3, 2, interval '29 h', 'Failed', 'the agent did not answer within 30 s', 0, 600),
    (4, 1, interval '28 h', 'Failed', 'ssh: connect to host 10.20.0.7 port 22: No route to host', 0, 1200),
    (5, 2, interval '27 h', 'Expired', NULL, 0, 15),
    (6, 1, interval '26 h', 'Failed', 'HOSTILE', 0, 2400),
    (7, 1, interval '24 h', 'Failed', 'ssh: connect to host 10.20.0.7 port 22: No route to host', 0, 4800),
    (8, 2, interval '22 h', 'Canceled', NULL, 0, NULL),
    (9, 1, interval '20 h', 'Failed', 'ssh: connect to host 10.20.0.7 port 22: No route to host', 0, 9600),
    (10, 1, interval '80 min', 'Failed', 'ssh: connect to host 10.20.0.7 port 22: No route to host', 8, 14400)
) AS a (f, s, ago, outcome, cause, repeats, seconds);
INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id, started_at, ended_at,
                          outcome, cause, interval_seconds)
SELECT pg_temp.id(n), 200000 + 10 * n + k, 200000 + 10 * n + k,
       CASE WHEN n > 20 THEN 'ShepherdRecovery' ELSE 'ShepherdAgentStart' END, pg_temp.session(1 + (n + 2) % 3),
       clock_timestamp() - (k + 1) * interval '55 min' - interval '8 s',
       clock_timestamp() - (k + 1) * interval '55 min',
       CASE WHEN (n + k) % 4 = 0 THEN 'Failed' ELSE 'Finished' END,
       CASE WHEN (n + k) % 4 = 0 THEN 'the agent did not answer within 30 s' END,
       CASE WHEN (n + k) % 4 = 0 THEN 300 END
FROM generate_series(1, 60) n, generate_series(0, 4) k
WHERE n <> 7;
";

/// Operator actions.
const ACTIONS: &str = "
CREATE FUNCTION pg_temp.id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT (lpad(to_hex(n), 8, '0') || '-beef-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.session(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT (lpad(to_hex(n), 8, '0') || '-cafe-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid $$;
INSERT INTO operator_action (machine_id, process, session_id, fence, verb, operator, reason, details, acted_at)
VALUES
    (NULL, NULL, NULL, NULL, 'ImportMachines', 'ci@build-2', NULL, '{\"machines\": \"62\"}',
     clock_timestamp() - interval '20 days'),
    (pg_temp.id(61), NULL, NULL, NULL, 'HoldMachine', 'mara@ops-1', 'Memory is being replaced, ticket 4711',
     NULL, clock_timestamp() - interval '2 days'),
    (NULL, NULL, pg_temp.session(99), NULL, 'EndSession', 'mara@ops-1', 'It hung after the upgrade', NULL,
     clock_timestamp() - interval '26 h'),
    (pg_temp.id(62), NULL, NULL, NULL, 'HoldMachine', 'jo@ops-2', 'Kept for the postmortem of the fire in row 7',
     NULL, clock_timestamp() - interval '5 h'),
    (pg_temp.id(7), 'ShepherdAgentStart', NULL, NULL, 'RetryNow', 'HOSTILE', 'HOSTILE',
     NULL, clock_timestamp() - interval '2 h'),
    (pg_temp.id(25), NULL, NULL, NULL, 'SetTag', 'jo@ops-2', 'The console said so', '{\"tag\": \"agent_started\"}',
     clock_timestamp() - interval '50 min'),
    (pg_temp.id(16), 'ShepherdAgentStart', NULL, 90211, 'ReleaseWork', 'mara@ops-1', 'The worker was paused',
     NULL, clock_timestamp() - interval '12 min');
";

/// Counts per minute of the last ninety minutes.
const COUNTS: &str = "
INSERT INTO attempt_tally (minute, process, event, writer, count, waits, waited_ms)
SELECT minute, process, event, '00000000-0000-0000-0000-000000000000', count,
       CASE WHEN event = 'Started' THEN count ELSE 0 END,
       CASE WHEN event = 'Started' THEN count * 1800 ELSE 0 END
FROM (
    -- The clock may begin a new minute while this statement runs, which would make two rows of one minute.
    SELECT date_trunc('minute', now()) - m * interval '1 minute' AS minute, process, event,
           round(weight * (6 + 4 * sin(m / 7.0) + (m * 7919 % 5))
                 * CASE WHEN event = 'Failed' AND m BETWEEN 20 AND 31 THEN 4 ELSE 1 END)::bigint AS count
    FROM generate_series(0, 89) AS m,
         (VALUES ('ShepherdAgentStart', 1.0), ('ShepherdRecovery', 0.5), ('AcmeBurnIn', 0.2)) AS p (process, share),
         (VALUES ('Started', 1.2), ('Finished', 0.8), ('Failed', 0.25), ('Canceled', 0.08), ('Expired', 0.05))
             AS e (event, base),
         LATERAL (SELECT share * base AS weight) w
) counted
WHERE count > 0;
";
