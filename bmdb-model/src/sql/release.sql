-- Ends one attempt without a failure, keyed on the fence. Finished clears backoff and failures;
-- Canceled is no verdict, so they survive. The item of a process without a workflow goes as soon
-- as it carries nothing any more. In a transaction whose fence check has locked the session, the
-- deadline is not judged again: a SERIALIZABLE one would see it as it was at its beginning.
WITH alive AS MATERIALIZED (
    SELECT 1 FROM sessions
    WHERE session_id = $1 AND ($2 OR session_deadline > clock_timestamp())
    FOR KEY SHARE
), outcome AS MATERIALIZED (
    SELECT $3::text = 'Finished' AS clears
), kept AS MATERIALIZED (
    SELECT EXISTS (SELECT 1 FROM process_def WHERE process = $4 AND workflow IS NOT NULL)
        OR NOT o.clears AND EXISTS (SELECT 1 FROM work_item
                                    WHERE machine_id = $5 AND process = $4
                                      AND backoff_until IS NOT NULL) AS kept
    FROM outcome o
), freed AS (
    UPDATE work_item i
    SET session_id = NULL, started_at = NULL, losses = 0,
        backoff_until = CASE WHEN NOT o.clears THEN i.backoff_until END,
        last_interval_seconds = CASE WHEN NOT o.clears THEN i.last_interval_seconds END,
        failures = CASE WHEN o.clears THEN 0 ELSE i.failures END,
        cause = CASE WHEN NOT o.clears THEN i.cause END
    FROM outcome o
    WHERE i.machine_id = $5 AND i.process = $4 AND i.fence = $6 AND i.session_id = $1
      AND EXISTS (SELECT 1 FROM alive)
      AND (SELECT kept FROM kept)
    RETURNING 1
), gone AS (
    DELETE FROM work_item
    WHERE machine_id = $5 AND process = $4 AND fence = $6 AND session_id = $1
      AND EXISTS (SELECT 1 FROM alive)
      AND NOT (SELECT kept FROM kept)
    RETURNING 1
), ended AS (
    SELECT 1 FROM freed UNION ALL SELECT 1 FROM gone
), recorded AS (
    INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id,
                              started_at, ended_at, outcome)
    SELECT $5, $6, $6, $4, $1, $7, clock_timestamp(), $3 FROM ended
    RETURNING 1
)
SELECT EXISTS (SELECT 1 FROM alive) AS lives, EXISTS (SELECT 1 FROM ended) AS ended
