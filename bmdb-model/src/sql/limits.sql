-- The limits of one process or of all, with the use of each partition: of each provider of the fleet, and of
-- those that have left slots. One step down an index for each provider, and a look at the slots.
SELECT l.process, l.per, l.max_running, l.max_starts, l.window_seconds,
       k.partition, g.kind, g.taken, g.maximum, g.opens_at
FROM process_limit l
LEFT JOIN LATERAL (
    SELECT '' AS partition WHERE l.per = 'process'
    UNION SELECT p.provider FROM provider p WHERE l.per = 'provider'
    UNION SELECT s.partition FROM process_slot s
    WHERE s.process = l.process AND s.per = l.per AND s.free_at > clock_timestamp()
) k ON true
LEFT JOIN LATERAL (
    SELECT * FROM process_gates(l.process, k.partition) g
    WHERE g.gate = 'Limited' AND g.per = l.per
) g ON k.partition IS NOT NULL
WHERE l.process = coalesce($1::text, l.process)
ORDER BY l.process, l.per, k.partition, g.kind
