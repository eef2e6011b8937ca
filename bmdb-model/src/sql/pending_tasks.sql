-- Whether there is anything for a janitor to do: expired sessions, which of these tasks
-- are due, whether a breaker is disarmed, whether a lease ends later than it can, and whether a task was
-- postponed for longer than it ever is: both show that the clock was set back. Most
-- of the janitor's rounds end here, so the statement only reads.
SELECT EXISTS (SELECT 1 FROM sessions WHERE session_deadline < clock_timestamp()) AS expired,
       ARRAY(SELECT task FROM upkeep
             WHERE task = ANY ($1) AND due_at <= clock_timestamp() ORDER BY due_at) AS due,
       EXISTS (SELECT 1 FROM process_breaker_state
               WHERE disarmed AND evaluate_after <= clock_timestamp()) AS disarmed,
       EXISTS (SELECT 1 FROM sessions
               WHERE session_deadline > clock_timestamp() + session_interval_seconds * interval '1 second') AS overlong,
       EXISTS (SELECT 1 FROM upkeep
               WHERE task = 'TrimTally' AND due_at > clock_timestamp() + interval '10 minutes') AS set_back
