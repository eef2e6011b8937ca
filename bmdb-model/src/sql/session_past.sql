-- What a session has done on the machines that it holds: of the first $2 of these, among the last 20
-- attempts of each. Attempts are kept by machine, so what it did on others is not to be found by it.
WITH held AS MATERIALIZED (
    SELECT i.machine_id
    FROM (SELECT machine_id, lane, session_id FROM work_item
          WHERE session_id IS NOT NULL ORDER BY machine_id, lane LIMIT 10000) i
    WHERE i.session_id = $1
    ORDER BY i.machine_id, i.lane LIMIT $2
)
SELECT a.machine_id, a.process, a.session_id, a.fence, a.last_fence, a.started_at, a.ended_at, a.outcome,
       a.cause, a.repeats, a.interval_seconds
FROM (SELECT DISTINCT machine_id FROM held) h
CROSS JOIN LATERAL (
    SELECT a.* FROM work_attempt a
    WHERE a.machine_id = h.machine_id
    ORDER BY a.fence DESC LIMIT 20
) a
WHERE a.session_id = $1
ORDER BY a.ended_at DESC, a.last_fence DESC LIMIT $2
