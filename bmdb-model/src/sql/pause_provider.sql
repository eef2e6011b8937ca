-- Pauses a process for the provider of a machine because an attempt there asks for it. A pause in force is
-- only extended, and only if an attempt made it: that of an operator or a breaker stays as it is. Returns
-- the pause in force; no row for a machine without a provider.
WITH controlled AS (
    INSERT INTO process_control (process) VALUES ($1) ON CONFLICT DO NOTHING
), paused AS (
    INSERT INTO process_pause AS p (process, provider, until, source, paused_by, reason)
    SELECT $1, m.provider, clock_timestamp() + $2 * interval '1 millisecond', 'Attempt', $3, $4
    FROM machine_provided m WHERE m.machine_id = $5
    ON CONFLICT (process, provider) DO UPDATE
    SET since = CASE WHEN p.until > clock_timestamp() THEN p.since ELSE excluded.since END,
        until = excluded.until, source = excluded.source, paused_by = excluded.paused_by,
        reason = excluded.reason, stop_running = false
    WHERE p.until <= clock_timestamp() OR p.source = 'Attempt' AND p.until < excluded.until
    RETURNING p.provider, p.until
)
SELECT provider, CASE WHEN isfinite(until) THEN until END FROM paused
UNION ALL
SELECT p.provider, CASE WHEN isfinite(p.until) THEN p.until END
FROM machine_provided m
JOIN process_pause p ON p.process = $1 AND p.provider = m.provider
WHERE m.machine_id = $5 AND NOT EXISTS (SELECT FROM paused)
