-- Frees lost work: the loss is counted and delays the next try, which is also the time in which
-- commands already on their way to the machine die out; the failure recurrence is not touched,
-- except that an interval left behind by an older writer's finish does not come back to life.
WITH lost AS (
    SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS l (machine_id, process, delay)
), held AS MATERIALIZED (
    SELECT i.machine_id, i.process, i.fence, i.session_id, l.delay,
           -- Not before its lane mate's end: see held_by.sql.
           greatest(i.started_at, (
               SELECT max(a.ended_at) FROM work_attempt a
               LEFT JOIN process_def d ON d.process = a.process
               WHERE a.machine_id = i.machine_id AND a.fence < i.fence
                 AND coalesce(d.lane, a.process) = i.lane)) AS started_at
    FROM work_item i JOIN lost l ON (l.machine_id, l.process) = (i.machine_id, i.process)
    WHERE i.session_id = ANY ($4)
), freed AS (
    UPDATE work_item i
    SET session_id = NULL, started_at = NULL, losses = least(i.losses, 9223372036854775806) + 1,
        last_interval_seconds = CASE WHEN i.backoff_until IS NOT NULL THEN i.last_interval_seconds END,
        backoff_until = greatest(i.backoff_until, clock_timestamp() + h.delay * interval '1 second')
    FROM held h
    WHERE (i.machine_id, i.process, i.fence) = (h.machine_id, h.process, h.fence)
    RETURNING i.machine_id, i.process, i.fence, i.backoff_until - h.delay * interval '1 second' AS at
)
INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id,
                          started_at, ended_at, outcome, cause, interval_seconds)
SELECT h.machine_id, h.fence, h.fence, h.process, h.session_id,
       h.started_at, greatest(h.started_at, least(f.at, clock_timestamp())), 'Expired', 'the session expired', h.delay
FROM held h JOIN freed f ON (f.machine_id, f.process, f.fence) = (h.machine_id, h.process, h.fence)
RETURNING machine_id, process, fence, session_id, interval_seconds
