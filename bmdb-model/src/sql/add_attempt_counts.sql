-- Adds what one component has counted to its rows of this minute.
INSERT INTO attempt_tally AS t (minute, process, event, writer, count, waits, waited_ms)
SELECT now.minute, c.process, c.event, $1, c.count, c.waits, c.waited_ms
FROM (SELECT date_trunc('minute', clock_timestamp()) AS minute) now,
     unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[])
         AS c (process, event, count, waits, waited_ms)
ON CONFLICT (minute, process, event, writer) DO UPDATE
SET count = least(t.count::numeric + excluded.count, 9223372036854775807)::bigint,
    waits = least(t.waits::numeric + excluded.waits, 9223372036854775807)::bigint,
    waited_ms = least(t.waited_ms::numeric + excluded.waited_ms, 9223372036854775807)::bigint
