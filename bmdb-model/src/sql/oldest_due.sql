-- What has been due for longest of each process with a workflow: one step down the index of due items for
-- each provider, like a claim.
SELECT d.process, d.time_driven, f.machine_id, f.provider, f.ready_at
FROM process_def d
CROSS JOIN LATERAL (
    WITH RECURSIVE first AS (
        (SELECT i.machine_id, i.provider, i.ready_at FROM work_item i
         WHERE i.process = d.process AND i.provider IS NOT NULL
           AND i.eligible AND i.session_id IS NULL AND i.ready_at > '-infinity'
         ORDER BY i.provider, i.ready_at LIMIT 1)
        UNION ALL
        SELECT n.machine_id, n.provider, n.ready_at
        FROM first f
        CROSS JOIN LATERAL (
            SELECT i.machine_id, i.provider, i.ready_at FROM work_item i
            WHERE i.process = d.process AND i.provider > f.provider
              AND i.eligible AND i.session_id IS NULL AND i.ready_at > '-infinity'
            ORDER BY i.provider, i.ready_at LIMIT 1
        ) n
    )
    SELECT * FROM first
    UNION ALL
    (SELECT i.machine_id, i.provider, i.ready_at FROM work_item i
     WHERE i.process = d.process AND i.provider IS NULL AND i.eligible AND i.session_id IS NULL AND i.ready_at > '-infinity'
     ORDER BY i.provider, i.ready_at LIMIT 1)
    ORDER BY ready_at LIMIT 1
) f
WHERE d.workflow IS NOT NULL AND f.ready_at <= clock_timestamp() AND isfinite(f.ready_at)
ORDER BY d.process
