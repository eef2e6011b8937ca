-- Whether there is anything for a janitor to do: expired sessions, which of these tasks
-- are due, whether a breaker is disarmed, whether a lease ends later than it can, and whether a task was
-- postponed for longer than it ever is: both show that the clock was set back. Most
-- of the janitor's rounds end here, so the statement only reads, and each table once.
SELECT s.expired, u.due,
       EXISTS (SELECT 1 FROM process_breaker_state
               WHERE disarmed AND evaluate_after <= clock_timestamp()) AS disarmed,
       s.overlong, u.set_back
FROM (
    SELECT coalesce(bool_or(session_deadline < clock_timestamp()), false) AS expired,
           -- Clocks are also set back by a little, to no harm.
           coalesce(bool_or(session_deadline
                            > clock_timestamp() + (session_interval_seconds + 1) * interval '1 second'),
                    false) AS overlong
    FROM sessions
) s
CROSS JOIN (
    SELECT coalesce(array_agg(task ORDER BY due_at)
                    FILTER (WHERE task = ANY ($1) AND due_at <= clock_timestamp()), '{}') AS due,
           coalesce(bool_or(task = 'TrimTally' AND due_at > clock_timestamp() + interval '10 minutes'),
                    false) AS set_back
    FROM upkeep
) u
