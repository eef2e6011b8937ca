//! A large, busy fleet: for measuring the cost of pages, and for `examples/console_load.rs`.
//!
//! Of each thousand machines two are claimed, a hundred back off, a hundred have an expired backoff, and two
//! are on hold. The machine with the longest history has a backoff as well.

/// The machine with the longest history.
pub(crate) const MACHINE: &str = "c4ca4238-a0b9-2382-0dcc-509a6f75849b";

/// The session that has claimed half of the claimed machines, and ended 1/200 of all attempts.
pub(crate) const SESSION: &str = "8ddf8780-39b7-0767-c4a5-bcf4f0c4f65e";

/// The statements that make the fleet, in steps, because the last one cannot run in a transaction with
/// others.
pub(crate) fn statements(machines: u32, attempts: u32) -> Vec<String> {
    let parts = [
        MACHINES, SESSIONS, ITEMS, ATTEMPTS, ACTIONS, AT_REST, ANALYZED,
    ];
    let attempts = (u64::from(machines) * u64::from(attempts)).to_string();
    let machines = machines.to_string();
    let filled = parts.map(|part| {
        let part = part.replace("MACHINES", &machines);
        part.replace("ATTEMPTS", &attempts)
    });
    filled.to_vec()
}

const MACHINES: &str = "
INSERT INTO machines (machine_id) SELECT md5(n::text)::uuid FROM generate_series(1, MACHINES) n;
INSERT INTO machine_provided (machine_id, provider, provider_id)
SELECT md5(n::text)::uuid, CASE n % 3 WHEN 0 THEN 'Equinix' ELSE 'Lumen' END, n
FROM generate_series(1, MACHINES) n;
INSERT INTO machine_agent_started (machine_id, agent_started_at, agent_public_key)
SELECT md5(n::text)::uuid, now(), '\\x00' FROM generate_series(1, MACHINES, 2) n;
INSERT INTO machine_hold (machine_id, reason)
SELECT md5(n::text)::uuid, 'disk' FROM generate_series(1, MACHINES, 500) n;
";

const SESSIONS: &str = "
INSERT INTO sessions (session_id, session_component_name, session_runtime_info, session_created_at,
                      session_interval_seconds, session_deadline)
SELECT md5('s' || n)::uuid, 'agent-starter', 'one of many', now() - n * interval '1 s', 86400,
       now() + interval '1 day'
FROM generate_series(1, 200) n;
";

/// Half of the machines need the one process, the other half both. What waits and what rests ends
/// throughout some hours; `fence` holds a machine's number.
const ITEMS: &str = "
INSERT INTO work_item (machine_id, process, lane, provider, eligible, plan_at, backoff_until, failures,
                       losses, cause, last_interval_seconds, session_id, started_at, fence)
SELECT md5(n::text)::uuid, 'ShepherdAgentStart', 'shepherd', CASE n % 3 WHEN 0 THEN 'Equinix' ELSE 'Lumen' END,
       n % 2 = 0 OR is_claimed, now() - (n % 5000) * interval '1 s' + (n % 7 = 0)::int * interval '2 h',
       CASE WHEN has_failed THEN now() + (n % 9000 - 4500) * interval '1 s' END,
       CASE WHEN has_failed THEN n % 14 ELSE 0 END, 0, CASE WHEN has_failed THEN 'no answer from the machine' END,
       CASE WHEN has_failed THEN 600 END,
       CASE WHEN is_claimed THEN md5('s' || CASE WHEN n % 1000 = 1 THEN 1 ELSE 1 + n / 500 % 200 END)::uuid END,
       CASE WHEN is_claimed THEN now() - (n % 7000) * interval '1 s' END, n
FROM generate_series(1, MACHINES) n, LATERAL (SELECT n % 500 = 1, n % 5 = 0 OR n = 1) s (is_claimed, has_failed);
INSERT INTO work_item (machine_id, process, lane, provider, eligible, plan_at)
SELECT md5(n::text)::uuid, 'ShepherdRecovery', 'shepherd', CASE n % 3 WHEN 0 THEN 'Equinix' ELSE 'Lumen' END,
       true, now() + (n % 600) * interval '1 s'
FROM generate_series(1, MACHINES, 2) n;
";

/// Attempts of the last hours, six thousand of them on one machine; counts per minute of the last hour.
const ATTEMPTS: &str = "
INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id, started_at, ended_at, outcome,
                          cause, interval_seconds)
SELECT md5((CASE WHEN n % greatest(2, ATTEMPTS / 6000) = 0 THEN 1 ELSE 1 + n % MACHINES END)::text)::uuid, n, n,
       'ShepherdAgentStart', md5('s' || 1 + n % 200)::uuid, ended_at - interval '5 s', ended_at,
       CASE WHEN n % 3 = 0 THEN 'Finished' ELSE 'Failed' END,
       CASE WHEN n % 3 <> 0 THEN 'no answer from the machine' END, CASE WHEN n % 3 <> 0 THEN 600 END
FROM generate_series(1, ATTEMPTS) n,
     LATERAL (SELECT now() - (ATTEMPTS - n) * interval '10 ms') s (ended_at);
SELECT setval('work_fence', ATTEMPTS);
INSERT INTO attempt_tally (minute, process, event, writer, count, waits, waited_ms)
SELECT date_trunc('minute', now()) - m * interval '1 minute', process, event, md5('w' || w)::uuid, 10, 10, 18000
FROM generate_series(0, 60) m,
     unnest(ARRAY['ShepherdAgentStart', 'ShepherdRecovery']) process,
     unnest(ARRAY['Started', 'Finished', 'Failed', 'Canceled', 'Expired']) event,
     -- Janitors have merged the older ones.
     generate_series(1, CASE WHEN m < 3 THEN 200 ELSE 1 END) w;
";

/// Operator actions on one machine in a thousand, on the machine with the long history, and on the session.
const ACTIONS: &str = "
INSERT INTO operator_action (machine_id, process, session_id, verb, operator, reason, acted_at)
SELECT md5((CASE WHEN n % 2 = 0 THEN 1 ELSE n * 1000 END)::text)::uuid, 'ShepherdAgentStart', NULL,
       'RetryNow', 'mara@ops-1', 'ticket 4711', now() - n * interval '1 minute'
FROM generate_series(1, MACHINES / 1000 + 200) n;
INSERT INTO operator_action (session_id, verb, operator, reason, acted_at)
SELECT md5('s1')::uuid, 'EndSession', 'mara@ops-1', 'It hung', now() - n * interval '1 minute'
FROM generate_series(1, 200) n;
";

/// Disables autovacuum, whose reads would count as reads of pages.
const AT_REST: &str = "
DO $$
DECLARE
    name regclass;
BEGIN
    FOR name IN SELECT oid FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace LOOP
        EXECUTE format(
            'ALTER TABLE %s SET (autovacuum_enabled = false, toast.autovacuum_enabled = false)', name);
    END LOOP;
END
$$
";

const ANALYZED: &str = "VACUUM ANALYZE";
