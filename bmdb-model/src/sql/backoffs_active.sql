
-- Backoffs in force, by when they end. Infinity is no time that a client could read: it gets one that nobody
-- writes by hand, for as the key of a page it stands for infinity again.
SELECT b.machine_id, b.process, b.provider,
       CASE WHEN b.backoff_until = 'infinity' THEN '9999-12-31 00:00:00.000001Z' ELSE b.backoff_until END,
       b.cause, b.failures, b.losses, b.last_interval_seconds, b.eligible
FROM process p
CROSS JOIN LATERAL (
    SELECT i.* FROM work_item i
    WHERE i.process = p.process AND i.backoff_until IS NOT NULL AND i.session_id IS NULL
      AND i.backoff_until > now()
      AND (i.backoff_until, i.machine_id, i.process)
          > (CASE WHEN $2::timestamptz = '9999-12-31 00:00:00.000001Z' THEN 'infinity'
                  ELSE coalesce($2::timestamptz, '-infinity') END, coalesce($3::uuid, '00000000-0000-0000-0000-000000000000'), $4::text)
    ORDER BY i.backoff_until, i.machine_id
    LIMIT $5
) b
ORDER BY b.backoff_until, b.machine_id, b.process
LIMIT $5
