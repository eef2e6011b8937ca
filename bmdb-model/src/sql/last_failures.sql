-- The last failures of processes on a machine, among its last thousand attempts, as many as are kept of a
-- machine by default. They are read once for all processes: no index begins with the process, so one that
-- never failed would read all of them. A process's streaks do not overlap, so the order of fences is the
-- order of ends.
WITH looked AS MATERIALIZED (
    SELECT a.* FROM work_attempt a WHERE a.machine_id = $1
    ORDER BY a.fence DESC LIMIT 1000
), ranked AS (
    SELECT l.*, row_number() OVER (PARTITION BY l.process ORDER BY l.fence DESC) AS nth
    FROM looked l WHERE l.outcome = 'Failed' AND l.process = ANY($2)
)
SELECT r.machine_id, r.process, r.session_id, r.fence, r.last_fence, r.started_at, r.ended_at, r.outcome,
       r.cause, r.repeats, r.interval_seconds
FROM ranked r WHERE r.nth <= $3 ORDER BY r.fence
