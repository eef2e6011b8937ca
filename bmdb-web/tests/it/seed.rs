//! A fleet with hostile text in every column of text.

use bmdb_testkit::TestDb;

/// The hostile text.
pub(crate) const HOSTILE: &str = "<script>alert(\"1\")</script>&'\"><img src=x onerror=alert(1)>";

/// A machine with everything: hold, tags, claims, backoffs, history.
pub(crate) const BUSY: &str = "c4ca4238-a0b9-2382-0dcc-509a6f75849b";

/// A deleted machine with history.
pub(crate) const GONE: &str = "00000000-dead-4000-8000-000000000001";

pub(crate) const SESSION: &str = "5e551000-0000-4000-8000-000000000001";

/// Sixty machines in every state, and a custom tag table.
pub(crate) async fn everything(db: &TestDb) {
    let hostile = HOSTILE.replace('\'', "''");
    let sql = format!(
        "INSERT INTO sessions (session_id, session_component_name, session_runtime_info,
                               session_interval_seconds, session_deadline)
         VALUES ('{SESSION}', '{hostile}', '{hostile}', 3600, now() + interval '1 hour');
         INSERT INTO machines (machine_id) SELECT md5(n::text)::uuid FROM generate_series(1, 60) n;
         INSERT INTO machine_provided (machine_id, provider, provider_id, provider_location,
                                       provider_ip_address, provider_status)
         SELECT md5(n::text)::uuid, CASE n % 2 WHEN 0 THEN 'Equinix' ELSE 'Lumen' END,
                n || '{hostile}', '{hostile}', '{hostile}',
                (ARRAY['Running', 'Missing', 'Stopped', 'Provisioning'])[n % 4 + 1]
         FROM generate_series(1, 50) n;
         INSERT INTO machine_hold (machine_id, reason) VALUES ('{BUSY}', '{hostile}');
         INSERT INTO machine_agent_started VALUES ('{BUSY}', now() - interval '1 day', '\\xdeadbeef');
         INSERT INTO machine_agent_heartbeat VALUES ('{BUSY}', now() - interval '1 minute');
         INSERT INTO machine_hardware_report VALUES ('{BUSY}', convert_to(repeat('x', 5000), 'UTF8'));
         INSERT INTO work_item (machine_id, process, lane, provider, eligible, plan_at, backoff_until,
                                session_id, started_at, fence, failures, losses, cause,
                                last_interval_seconds)
         SELECT md5(n::text)::uuid, 'ShepherdAgentStart', 'shepherd', 'Lumen', n % 5 <> 0,
                now() + (n % 3 - 1) * interval '1 hour',
                CASE WHEN n % 4 = 1 THEN now() + interval '10 minutes' END,
                CASE WHEN n % 7 = 0 THEN '{SESSION}'::uuid END, CASE WHEN n % 7 = 0 THEN now() END,
                n, n % 12, n % 3, '{hostile}', 300
         FROM generate_series(1, 40) n;
         INSERT INTO work_item (machine_id, process, lane, session_id, started_at, fence)
         VALUES ('{BUSY}', 'Unknown', 'other', '{SESSION}', now() - interval '2 hours', 1000);
         INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id, started_at,
                                   ended_at, outcome, cause, repeats, interval_seconds)
         SELECT '{BUSY}', 2000 + n * 20, 2000 + n * 20 + CASE WHEN n % 10 = 7 THEN 16 ELSE 0 END,
                'ShepherdAgentStart', '{SESSION}',
                now() - (90 - n) * interval '1 hour', now() - (90 - n) * interval '59 minutes',
                (ARRAY['Failed', 'Failed', 'Failed', 'Finished', 'Canceled', 'Expired'])[n % 6 + 1],
                CASE WHEN n % 6 < 3 THEN '{hostile} ' || n END,
                CASE WHEN n % 10 = 7 THEN 16 ELSE 0 END,
                CASE WHEN n % 6 < 3 THEN 60 * (n % 9 + 1) END
         FROM generate_series(1, 80) n;
         INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id, started_at,
                                   ended_at, outcome, cause)
         VALUES ('{GONE}', 1, 1, 'ShepherdAgentStart', '{SESSION}', now() - interval '2 hours',
                 now() - interval '1 hour', 'Failed', '{hostile}');
         INSERT INTO operator_action (machine_id, process, verb, operator, reason, details)
         VALUES ('{BUSY}', 'ShepherdAgentStart', 'MachineHold', '{hostile}', '{hostile}',
                 jsonb_build_object('{hostile}', '{hostile}'));
         CREATE TABLE \"<b>rack&\" (machine_id uuid PRIMARY KEY REFERENCES machines,
                                    \"<i>\"\"place'\" text, slots jsonb, seen timestamptz);
         INSERT INTO \"<b>rack&\" VALUES ('{BUSY}', '{hostile}', jsonb_build_array('{hostile}'), 'infinity');
         GRANT SELECT ON \"<b>rack&\" TO PUBLIC"
    );
    db.run_sql(&sql).await.unwrap();
}
