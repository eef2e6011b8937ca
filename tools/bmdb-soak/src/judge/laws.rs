//! Laws: SQL queries that return nothing from a lawful database, else a sentence per violation.

use super::invariant::Invariant;

pub(super) const LAWS: [(Invariant, &str); 4] = [
    // The last finish in the lane wrote the tag: a recovery removes it, the others set it. Agents from
    // before the run have the key "none".
    (
        Invariant::Acknowledged,
        "SELECT format('machine %s has the tag of fence %s, the last to write was fence %s', machine_id,
                       convert_from(s.agent_public_key, 'UTF8'), coalesce(max(t.fence)::text, 'none'))
         FROM machine_agent_started s LEFT JOIN tag_log t USING (machine_id)
         GROUP BY machine_id
         HAVING coalesce(max(t.fence)::text, 'none') <> convert_from(s.agent_public_key, 'UTF8')",
    ),
    (
        Invariant::DeadHolder,
        "SELECT format('session %s (%s) is still there, with %s machines', s.session_id,
                       s.session_runtime_info, count(i.machine_id))
         FROM sessions s LEFT JOIN work_item i USING (session_id)
         GROUP BY s.session_id, s.session_runtime_info",
    ),
    // The heartbeat was committed before the claim's transaction began, and arrived when it was sent or
    // later. So the plan by which the machine was claimed must have known it.
    (
        Invariant::Plan,
        "SELECT format('machine %s fence %s was recovered at %s although its agent had sent a heartbeat '
                       'at %s', machine_id, fence, a.started_at, max(h.sent_at))
         FROM recovery_log r
         JOIN work_attempt a USING (machine_id, fence)
         JOIN heartbeat_log h USING (machine_id)
         WHERE h.acknowledged_at < r.began_at
           AND h.sent_at + interval '700 milliseconds' > a.started_at
         GROUP BY machine_id, fence, a.started_at",
    ),
    // A plan from scratch would not change a work item. A time-driven one may be planned too early.
    (
        Invariant::Plan,
        "WITH needed AS (
             SELECT machine_id, 'ShepherdAgentStart' AS process, provider, ready_at
             FROM workflow_agent_start
             UNION ALL
             SELECT machine_id, 'ShepherdRecovery', provider, ready_at FROM workflow_agent_recovery
         ), planned AS (
             SELECT * FROM work_item WHERE process IN ('ShepherdAgentStart', 'ShepherdRecovery')
         )
         SELECT format('the plan of machine %s for %s is stale: eligible %s, at %s; its workflow says %s',
                       machine_id, process, coalesce(i.eligible::text, 'never'),
                       coalesce(i.plan_at::text, 'no time'),
                       coalesce(n.ready_at::text, 'at once or not at all'))
         FROM needed n FULL JOIN planned i USING (machine_id, process)
         WHERE coalesce(i.eligible, false) IS DISTINCT FROM
               (n.machine_id IS NOT NULL
                AND NOT EXISTS (SELECT FROM machine_hold h WHERE h.machine_id = n.machine_id))
            OR i.eligible AND (i.provider IS DISTINCT FROM n.provider OR i.plan_at > n.ready_at)",
    ),
];

/// Counts for the report.
pub(super) const COUNTS: [(&str, &str); 5] = [
    ("recoveries claimed", "SELECT count(*) FROM recovery_log"),
    ("tags written by finishes", "SELECT count(*) FROM tag_log"),
    ("heartbeats of agents", "SELECT count(*) FROM heartbeat_log"),
    (
        "transactions rolled back",
        "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()",
    ),
    (
        "deadlocks",
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
    ),
];
