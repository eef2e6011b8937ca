
-- Backoffs in force, by when they end.
SELECT b.machine_id, b.process, b.provider, b.backoff_until, b.cause, b.failures, b.losses,
       b.last_interval_seconds, b.eligible
FROM process p
CROSS JOIN LATERAL (
    SELECT i.* FROM work_item i
    WHERE i.process = p.process AND i.backoff_until IS NOT NULL AND i.session_id IS NULL
      AND i.backoff_until > now()
      AND (i.backoff_until, i.machine_id, i.process)
          > (coalesce($2::timestamptz, '-infinity'), coalesce($3::uuid, '00000000-0000-0000-0000-000000000000'), $4::text)
    ORDER BY i.backoff_until, i.machine_id
    LIMIT $5
) b
ORDER BY b.backoff_until, b.machine_id, b.process
LIMIT $5
