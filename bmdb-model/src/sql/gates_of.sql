-- The gates of a machine's processes: of one process, or of all that are defined or have an item there.
-- Clients cannot read infinity. The last attempt of each process is searched among the machine's last
-- thousand attempts, once for all processes: one that never ran there would otherwise read all of them.
WITH asked AS MATERIALIZED (SELECT $1::uuid AS machine_id, $2::text AS process),
looked AS MATERIALIZED (
    SELECT a.* FROM work_attempt a WHERE a.machine_id = $1::uuid
    ORDER BY a.fence DESC LIMIT 1000
)
SELECT clock_timestamp(),
       n.process, coalesce(i.lane, d.lane, n.process), coalesce(d.lane, n.process),
       d.process IS NOT NULL, d.workflow, coalesce(d.time_driven, false),
       i.process IS NOT NULL, coalesce(i.eligible, false), i.provider,
       CASE WHEN isfinite(i.plan_at) THEN i.plan_at END, coalesce(i.plan_at = 'infinity', false),
       coalesce(i.failures, 0), coalesce(i.losses, 0), i.cause, i.last_interval_seconds,
       i.backoff_until, coalesce(i.unproductive, 0), coalesce(i.flapping, 0), i.hold_reason, i.hold_since,
       h.process, h.session_id, s.session_component_name, s.session_runtime_info, h.fence, h.started_at,
       s.session_deadline, s.session_deadline > clock_timestamp(), s.session_interval_seconds,
       s.session_deadline > clock_timestamp() + (s.session_interval_seconds + 1) * interval '1 second',
       a.machine_id, a.process, a.session_id, a.fence, a.last_fence, a.started_at, a.ended_at, a.outcome,
       a.cause, a.repeats, a.interval_seconds
FROM asked
CROSS JOIN LATERAL (
    SELECT d.process FROM process_def d WHERE asked.process IS NULL
    UNION SELECT i.process FROM work_item i WHERE i.machine_id = asked.machine_id AND asked.process IS NULL
    UNION SELECT asked.process WHERE asked.process IS NOT NULL
) n
LEFT JOIN process_def d ON d.process = n.process
LEFT JOIN work_item i ON i.machine_id = asked.machine_id AND i.process = n.process
LEFT JOIN work_item h ON h.machine_id = asked.machine_id AND h.lane = coalesce(i.lane, d.lane, n.process)
                     AND h.session_id IS NOT NULL
LEFT JOIN sessions s ON s.session_id = h.session_id
LEFT JOIN LATERAL (
    SELECT l.* FROM looked l WHERE l.process = n.process
    ORDER BY l.fence DESC LIMIT 1
) a ON true
ORDER BY n.process
