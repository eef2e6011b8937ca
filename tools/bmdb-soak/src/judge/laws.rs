//! Laws: SQL queries that return nothing from a lawful database, else a sentence per violation.

use super::invariant::Invariant;

pub(super) const LAWS: [(Invariant, &str); 9] = [
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
         FROM start_log r
         JOIN work_attempt a USING (machine_id, fence)
         JOIN heartbeat_log h USING (machine_id)
         WHERE r.process = 'ShepherdRecovery' AND h.acknowledged_at < r.began_at
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
    // Nothing is claimed when the judge looks, but this holds at any other time too.
    (
        Invariant::Slot,
        "SELECT format('slot %s of %s per %s %L is taken by machine %s, which is not claimed with it',
                       s.number, s.process, s.per, s.partition, s.machine_id)
         FROM process_slot s
         WHERE s.kind = 'Running' AND s.free_at > clock_timestamp()
           AND NOT EXISTS (SELECT FROM work_item i
                           WHERE i.session_id IS NOT NULL AND s.slot_id = ANY (i.slots))",
    ),
    (
        Invariant::Slot,
        "SELECT format('machine %s has %s slots for %s, of which %s are taken by it', i.machine_id,
                       coalesce(cardinality(i.slots), 0), i.process, count(s.slot_id))
         FROM work_item i
         LEFT JOIN process_slot s ON s.slot_id = ANY (i.slots) AND s.machine_id = i.machine_id
              AND s.process = i.process AND s.free_at > clock_timestamp()
         GROUP BY i.machine_id, i.process
         HAVING coalesce(cardinality(i.slots), 0) <> count(s.slot_id)",
    ),
    // The claim's transaction began when the pause had been committed.
    (
        Invariant::Pause,
        "SELECT format('machine %s fence %s: %s started at %s, in a transaction that began %s after the '
                       'process was paused for provider %L', s.machine_id, s.fence, s.process,
                       s.started_at, s.began_at - p.in_force, p.provider)
         FROM start_log s
         LEFT JOIN machine_provided m USING (machine_id)
         JOIN pause_log p ON p.process = s.process
              AND p.provider IN ('', coalesce(m.provider, ''))
         WHERE s.began_at > p.in_force AND s.started_at < p.lifted",
    ),
    // Its lane changes only while nothing of it is claimed, so each attempt has one.
    (
        Invariant::Lane,
        "WITH times AS (
             SELECT process, lane, since, lead(since, 1, 'infinity') OVER (
                        PARTITION BY process ORDER BY id) AS until
             FROM lane_log
         )
         SELECT format('machine %s: %s fence %s and %s fence %s ran at once, both in lane %s then',
                       a.machine_id, a.process, a.fence, o.process, o.fence, t.lane)
         FROM times t
         JOIN process_def d ON d.lane = t.lane AND d.process <> t.process
         JOIN work_attempt a ON a.process = t.process
              AND a.started_at >= t.since AND a.started_at < t.until
         JOIN work_attempt o ON o.machine_id = a.machine_id AND o.process = d.process
              AND o.started_at < a.ended_at AND a.started_at < o.ended_at
         WHERE t.lane <> t.process AND t.process = 'SoakCheck'",
    ),
    // Nobody had written a heartbeat or listened for eleven minutes; then everybody has his time again.
    (
        Invariant::Unheard,
        "SELECT format('machine %s fence %s was recovered at %s, %s after nobody had listened for eleven '
                       'minutes', s.machine_id, s.fence, s.started_at, s.started_at - u.began_at)
         FROM start_log s
         JOIN unheard_log u ON s.began_at > u.began_at
              AND s.started_at < u.over_at + interval '700 milliseconds'
         WHERE s.process = 'ShepherdRecovery' AND u.over_at > u.began_at",
    ),
];

/// Counts for the report.
pub(super) const COUNTS: [(&str, &str); 7] = [
    (
        "recoveries claimed",
        "SELECT count(*) FROM start_log WHERE process = 'ShepherdRecovery'",
    ),
    ("pauses", "SELECT count(*) FROM pause_log"),
    (
        "limits changed",
        "SELECT count(*) FROM limit_log l
         WHERE EXISTS (SELECT FROM limit_log e
                       WHERE e.process = l.process AND e.per = l.per AND e.id < l.id
                         AND coalesce(e.max_running, e.max_starts) IS NOT NULL
                         AND coalesce(l.max_running, l.max_starts) IS NOT NULL)",
    ),
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
