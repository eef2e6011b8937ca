-- Deletes the history that is not to be kept of the next machines in id order: too old, or beyond what
-- is kept of a machine. By the end of the attempts and not by their fences: a streak that is still
-- growing has an old fence.
WITH page AS MATERIALIZED (
    SELECT machine_id FROM work_attempt
    WHERE $1::uuid IS NULL OR machine_id > $1
    GROUP BY machine_id ORDER BY machine_id LIMIT $2
), surplus AS (
    SELECT machine_id, fence
    FROM (
        SELECT a.machine_id, a.fence, a.ended_at,
               row_number() OVER (PARTITION BY a.machine_id ORDER BY a.ended_at DESC, a.fence DESC) AS rank
        FROM work_attempt a JOIN page p ON p.machine_id = a.machine_id
    ) ranked
    WHERE rank > $3 OR ended_at < clock_timestamp() - $4 * interval '1 second'
), deleted AS (
    DELETE FROM work_attempt a USING surplus s
    WHERE a.machine_id = s.machine_id AND a.fence = s.fence
    RETURNING 1
)
SELECT (SELECT machine_id FROM page ORDER BY machine_id DESC LIMIT 1) AS last,
       (SELECT count(*) FROM deleted) AS deleted
