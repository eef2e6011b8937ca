-- Summary of claimed work, of at most $1 items. Mostly those are all; otherwise they are the items with
-- the smallest machine ids, which are random.
WITH looked AS MATERIALIZED (
    SELECT started_at, ready_at FROM work_item
    WHERE session_id IS NOT NULL
    ORDER BY machine_id, lane LIMIT $1
), waits AS (
    SELECT greatest(0, floor(1000 * extract(epoch FROM started_at - ready_at)))::bigint AS ms FROM looked
    WHERE isfinite(ready_at) AND isfinite(started_at)
)
SELECT (SELECT count(*) FROM looked),
       (SELECT count(*) FROM looked WHERE started_at < clock_timestamp() - $2 * interval '1 second'),
       count(*), percentile_disc(0.5) WITHIN GROUP (ORDER BY ms),
       percentile_disc(0.95) WITHIN GROUP (ORDER BY ms), max(ms)
FROM waits
