-- Claims due items of a process: all three gates are columns of the locked row, which SKIP LOCKED
-- re-reads in its newest version. Limits, breakers and pauses are enforced by a trigger, which leaves rows
-- out of the update; an answer without a machine, although one is due, says whether there may be any for the
-- process.
-- The look at the queue's head keeps an idle poll read-only: without it the fence check's row lock would
-- take a transaction id and write WAL on every poll.
-- $3 is where to begin in the queue. It keeps a claim from stepping over the dead entries at the
-- queue's head, and makes a range of which the planner expects little, whatever it knows: so the
-- generic plan uses the indexes, and the items are not joined by reading the whole table.
, alive AS MATERIALIZED (
    SELECT 1 FROM sessions
    WHERE session_id = $4 AND session_deadline > clock_timestamp()
      AND EXISTS (SELECT 1 FROM head WHERE due)
    FOR KEY SHARE
), due AS MATERIALIZED (
    SELECT i.machine_id, i.process FROM work_item i
    WHERE EXISTS (SELECT 1 FROM alive)
      AND i.process = $1 AND i.provider = $2
      AND i.eligible AND i.session_id IS NULL AND i.ready_at <= now()
      AND i.ready_at >= coalesce($3::timestamptz, '-infinity')
      -- Only an optimisation, the lane is guarded by its unique index. Scalar and an aggregate over
      -- the primary key on purpose: other forms make the planner read a whole partial index.
      AND (SELECT bool_or(l.session_id IS NOT NULL) FROM work_item l
           WHERE l.machine_id = i.machine_id AND l.lane = i.lane) IS NOT TRUE
      -- Also while the plan does not know of the hold yet. Scalar for the same reason. A look into an index that
      -- never had an entry reads two buffers, and most fleets have no hold: the size of the table costs none.
      AND ((SELECT pg_relation_size('machine_hold') > 0)
           AND (SELECT true FROM machine_hold h WHERE h.machine_id = i.machine_id)) IS NOT TRUE
    ORDER BY i.ready_at
    LIMIT $5
    FOR NO KEY UPDATE OF i SKIP LOCKED
), claimed AS (
    UPDATE work_item i
    SET session_id = $4, started_at = clock_timestamp(), fence = nextval('work_fence')
    FROM (SELECT machine_id, process FROM due ORDER BY machine_id) d
    WHERE i.machine_id = d.machine_id AND i.process = d.process
    -- Not i.started_at: that was noted before the row's entry in the lane's index, which may have
    -- had to wait for a lane mate to end. The attempt starts when it has got the lane.
    RETURNING i.machine_id, i.fence, clock_timestamp() AS started_at, i.ready_at, i.failures,
        CASE WHEN i.failures > 0 THEN i.last_interval_seconds END AS previous_interval
)
-- Minus infinity is due like any other time, and none that a client could read.
SELECT s.lives, s.due_in,
       c.machine_id, c.fence, c.started_at, CASE WHEN isfinite(c.ready_at) THEN c.ready_at END AS ready_at,
       c.failures, c.previous_interval,
       CASE WHEN c.machine_id IS NULL AND (SELECT due FROM head)
            THEN EXISTS (SELECT 1 FROM process_control p WHERE p.process = $1) ELSE false END AS is_controlled
FROM (SELECT EXISTS (SELECT 1 FROM sessions
                     WHERE session_id = $4 AND session_deadline > clock_timestamp()) AS lives,
             (SELECT due_in FROM head) AS due_in) s
LEFT JOIN claimed c ON true
