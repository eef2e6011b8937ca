-- The queues in which nothing starts now although machines may be due, because a pause is in force or a limit
-- leaves no room: of the process $1, or of all. One step down the index of due items for each provider of each
-- process that limits, breakers or pauses may stop, and a look at the slots of its partitions.
WITH RECURSIVE controlled AS MATERIALIZED (
    SELECT c.process FROM process_control c WHERE $1::text IS NULL OR c.process = $1
), queue AS (
    SELECT c.process, f.provider
    FROM controlled c
    CROSS JOIN LATERAL (
        SELECT i.provider FROM work_item i
        WHERE i.process = c.process AND i.provider IS NOT NULL AND i.eligible AND i.session_id IS NULL
        ORDER BY i.provider, i.ready_at LIMIT 1
    ) f
    UNION ALL
    SELECT q.process, n.provider
    FROM queue q
    CROSS JOIN LATERAL (
        SELECT i.provider FROM work_item i
        WHERE i.process = q.process AND i.provider > q.provider AND i.eligible AND i.session_id IS NULL
        ORDER BY i.provider, i.ready_at LIMIT 1
    ) n
), closed AS MATERIALIZED (
    -- '' is the queue of the machines without a provider.
    SELECT q.process, q.provider, CASE WHEN bool_or(g.gate = 'Paused') THEN 'paused' ELSE 'limited' END AS state
    FROM (SELECT process, provider FROM queue UNION ALL SELECT process, '' FROM controlled) q
    CROSS JOIN LATERAL process_gates(q.process, q.provider) g
    WHERE g.room = 0
    GROUP BY q.process, q.provider
)
