-- Counts that a component adds late to a merged minute are merged by the next run.
, deleted AS (
    DELETE FROM attempt_tally t USING surplus s
    WHERE t.minute = s.minute AND t.process = s.process AND t.event = s.event AND t.writer = s.writer
    RETURNING t.*
), added AS (
    INSERT INTO attempt_tally AS t (minute, process, event, writer, count, waits, waited_ms)
    SELECT minute, process, event, '00000000-0000-0000-0000-000000000000',
           least(sum(count), 9223372036854775807)::bigint,
           least(sum(waits), 9223372036854775807)::bigint, least(sum(waited_ms), 9223372036854775807)::bigint
    FROM deleted WHERE minute >= (SELECT kept_from FROM clock)
    GROUP BY minute, process, event
    ON CONFLICT (minute, process, event, writer) DO UPDATE
    SET count = least(t.count::numeric + excluded.count, 9223372036854775807)::bigint,
        waits = least(t.waits::numeric + excluded.waits, 9223372036854775807)::bigint,
        waited_ms = least(t.waited_ms::numeric + excluded.waited_ms, 9223372036854775807)::bigint
)
SELECT count(*) FROM deleted
