-- What a session did: the attempts that it ended, or ended last, the latest claim first. A streak has the
-- fence of its first failure, which another session may have had.
SELECT a.machine_id, a.process, a.session_id, a.fence, a.last_fence, a.started_at, a.ended_at, a.outcome,
       a.cause, a.repeats, a.interval_seconds
FROM work_attempt a
WHERE a.session_id = $1 AND a.fence < $2::bigint
ORDER BY a.fence DESC LIMIT $3
