-- Attempt counts that can be merged or deleted: rows of minutes that are no longer kept, and rows of single
-- components of minutes that are over. At most the given number of each, the oldest first.
WITH clock AS MATERIALIZED (
    SELECT clock_timestamp() - $1 * interval '1 second' AS kept_from,
           date_trunc('minute', clock_timestamp()) - interval '1 minute' AS single_from
), old AS MATERIALIZED (
    SELECT minute, process, event, writer FROM attempt_tally
    WHERE minute < (SELECT kept_from FROM clock)
    ORDER BY minute LIMIT $2 FOR UPDATE SKIP LOCKED
), single AS MATERIALIZED (
    SELECT minute, process, event, writer FROM attempt_tally
    WHERE writer <> '00000000-0000-0000-0000-000000000000'
      AND minute < (SELECT single_from FROM clock)
    ORDER BY minute LIMIT $2 FOR UPDATE SKIP LOCKED
), surplus AS (
    SELECT * FROM old UNION SELECT * FROM single
)
