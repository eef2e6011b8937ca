-- The processes that have backoffs on unclaimed items.
WITH RECURSIVE process AS (
    (SELECT i.process FROM work_item i
     WHERE $1::text IS NULL AND i.backoff_until IS NOT NULL AND i.session_id IS NULL
     ORDER BY i.process, i.backoff_until LIMIT 1)
    UNION ALL
    SELECT n.process
    FROM process p
    CROSS JOIN LATERAL (
        SELECT i.process FROM work_item i
        WHERE i.process > p.process AND i.backoff_until IS NOT NULL AND i.session_id IS NULL
        ORDER BY i.process, i.backoff_until LIMIT 1
    ) n
)
