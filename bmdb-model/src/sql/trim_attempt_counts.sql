-- Counts that a component adds late to a merged minute are merged by the next run.
, deleted AS (
    DELETE FROM attempt_tally t USING surplus s
    WHERE t.minute = s.minute AND t.process = s.process AND t.event = s.event AND t.writer = s.writer
    RETURNING t.*
), added AS (
    INSERT INTO attempt_tally AS t (minute, process, event, writer, count, waits, waited_ms)
    SELECT minute, process, event, '00000000-0000-0000-0000-000000000000',
           sum(count)::bigint, sum(waits)::bigint, sum(waited_ms)::bigint
    FROM deleted WHERE minute >= (SELECT kept_from FROM clock)
    GROUP BY minute, process, event
    ON CONFLICT (minute, process, event, writer) DO UPDATE
    SET count = t.count + excluded.count, waits = t.waits + excluded.waits,
        waited_ms = t.waited_ms + excluded.waited_ms
)
SELECT count(*) FROM deleted
