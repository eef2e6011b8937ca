-- The first entry of a process's queue, of any provider: one step down the index for each
-- provider, because the earliest of all would be found by reading all of them.
WITH RECURSIVE first AS (
    (SELECT i.provider, i.ready_at FROM work_item i
     WHERE i.process = $1 AND $2::text IS NULL AND i.provider IS NOT NULL
       AND i.eligible AND i.session_id IS NULL
       AND i.ready_at >= coalesce($3::timestamptz, '-infinity')
     ORDER BY i.provider, i.ready_at
     LIMIT 1)
    UNION ALL
    SELECT n.provider, n.ready_at
    FROM first f
    CROSS JOIN LATERAL (
        SELECT i.provider, i.ready_at FROM work_item i
        WHERE i.process = $1 AND i.provider > f.provider
          AND i.eligible AND i.session_id IS NULL
          AND i.ready_at >= coalesce($3::timestamptz, '-infinity')
        ORDER BY i.provider, i.ready_at
        LIMIT 1
    ) n
), candidate AS MATERIALIZED (
    SELECT least(
        (SELECT min(ready_at) FROM first),
        (SELECT i.ready_at FROM work_item i
         WHERE i.process = $1 AND i.provider IS NULL
           AND i.eligible AND i.session_id IS NULL
           AND i.ready_at >= coalesce($3::timestamptz, '-infinity')
         ORDER BY i.provider, i.ready_at
         LIMIT 1)
    ) AS ready_at
)
