-- The relations that a view reads, each before those that read it. Tables with a column machine_id are
-- tags, except the table of machines.
WITH RECURSIVE made_of AS (
    SELECT to_regclass(quote_ident($1))::oid AS oid, 0 AS depth
    UNION
    SELECT d.refobjid, m.depth + 1
    FROM made_of m
    JOIN pg_rewrite w ON w.ev_class = m.oid
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
                    AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> m.oid
), relation AS (
    SELECT oid, max(depth) AS depth FROM made_of GROUP BY oid
)
SELECT c.relname::text, format('%I.%I', n.nspname, c.relname),
       CASE WHEN c.relkind = 'v' THEN rtrim(pg_get_viewdef(c.oid), ';') END,
       pg_table_is_visible(c.oid),
       c.relkind IN ('r', 'p', 'f') AND c.relname <> 'machines' AND a.has_machine,
       a.time, coalesce(a.nulls, '')
FROM relation r
JOIN pg_class c ON c.oid = r.oid
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT coalesce(bool_or(a.attname = 'machine_id' AND a.atttypid = 'uuid'::regtype), false) AS has_machine,
           (array_agg(a.attname::text ORDER BY a.attnum)
               FILTER (WHERE a.atttypid = 'timestamptz'::regtype))[1] AS time,
           string_agg(CASE WHEN a.attname = 'machine_id' THEN 'this.machine_id'
                           ELSE 'NULL::' || format_type(a.atttypid, a.atttypmod) END,
                      ', ' ORDER BY a.attnum) AS nulls
    FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
) a
WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm')
ORDER BY r.depth DESC, c.relname
