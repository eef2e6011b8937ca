-- One bounded batch of history that is too old, or beyond what is kept of its machine. By the end of
-- the attempts and not by their fences: a streak that is still growing has an old fence.
WITH surplus AS (
    SELECT machine_id, fence
    FROM (
        SELECT machine_id, fence, ended_at,
               row_number() OVER (PARTITION BY machine_id ORDER BY ended_at DESC, fence DESC) AS rank
        FROM work_attempt
    ) ranked
    WHERE rank > $1 OR ended_at < clock_timestamp() - $2 * interval '1 second'
    LIMIT $3
)
DELETE FROM work_attempt a USING surplus s
WHERE a.machine_id = s.machine_id AND a.fence = s.fence
