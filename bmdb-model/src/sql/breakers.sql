-- The breakers of one process or of all, with what they have seen of each partition: of each provider of the
-- fleet, and of those that have left something. Clients cannot read numeric.
SELECT b.process, b.per, b.max_due, (b.max_due_percent * 1000)::bigint, b.max_failures,
       b.failures_window_seconds, b.resume_after_seconds,
       k.partition, s.due, s.population,
       CASE WHEN s.population IS NOT NULL THEN breaker_threshold(b, s.population) END,
       s.evaluated_at, coalesce(s.disarmed, false),
       (SELECT count(*) FROM process_failures f
        WHERE f.process = b.process AND f.per = b.per AND f.partition = k.partition
          AND f.failed_at > clock_timestamp() - b.failures_window_seconds * interval '1 second')
FROM process_breaker b
LEFT JOIN LATERAL (
    SELECT '' AS partition WHERE b.per = 'process'
    UNION SELECT p.provider FROM provider p WHERE b.per = 'provider'
    UNION SELECT s.partition FROM process_breaker_state s WHERE s.process = b.process AND s.per = b.per
    UNION SELECT f.partition FROM process_failures f WHERE f.process = b.process AND f.per = b.per
) k ON true
LEFT JOIN process_breaker_state s
    ON s.process = b.process AND s.per = b.per AND s.partition = k.partition
WHERE b.process = coalesce($1::text, b.process)
ORDER BY b.process, b.per, k.partition
