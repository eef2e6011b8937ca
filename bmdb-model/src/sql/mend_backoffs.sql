-- Backoffs that began in the future, because the clock was set back since then, and that end later than if they
-- began now. Each begins now. Where the backoff is longer than the clock was set back, the machine waits for less
-- than twice its backoff, and nothing is changed: so a second look changes nothing either. The farthest come
-- first, because those that were mended are near.
, odd AS MATERIALIZED (
    SELECT i.machine_id, i.process, i.backoff_until - l.ended_at AS lasts
    FROM process p
    CROSS JOIN LATERAL (
        SELECT w.* FROM work_item w
        WHERE w.process = p.process AND w.backoff_until IS NOT NULL AND w.session_id IS NULL
          AND w.backoff_until > clock_timestamp()
        ORDER BY w.backoff_until DESC
    ) i
    CROSS JOIN LATERAL (
        SELECT a.ended_at FROM work_attempt a
        WHERE a.machine_id = i.machine_id AND a.process = i.process
        ORDER BY a.fence DESC LIMIT 1
    ) l
    WHERE l.ended_at > clock_timestamp() + interval '1 second'
      AND i.backoff_until >= l.ended_at
      AND i.backoff_until - l.ended_at < l.ended_at - clock_timestamp()
    LIMIT $2
), locked AS MATERIALIZED (
    SELECT i.machine_id, i.process, i.backoff_until, o.lasts
    FROM odd o JOIN work_item i ON i.machine_id = o.machine_id AND i.process = o.process
    WHERE i.session_id IS NULL
    ORDER BY i.machine_id, i.process
    FOR NO KEY UPDATE OF i SKIP LOCKED
)
UPDATE work_item i
SET backoff_until = clock_timestamp() + l.lasts
FROM locked l
WHERE i.machine_id = l.machine_id AND i.process = l.process AND i.backoff_until = l.backoff_until
