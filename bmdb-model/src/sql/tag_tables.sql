-- The tag tables: tables whose primary key is the single column machine_id, which refers to machines.
-- The names are quoted, because they become part of statements.
SELECT t.relname::text,
       format('%I.%I', n.nspname, t.relname),
       has_table_privilege(t.oid, 'SELECT'),
       t.reltuples::float8,
       array_agg(a.attname::text ORDER BY a.attnum),
       array_agg(quote_ident(a.attname) ORDER BY a.attnum),
       array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum)
FROM pg_constraint k
JOIN pg_class t ON t.oid = k.conrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE k.contype = 'p'
  AND t.relkind IN ('r', 'p')
  AND t.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'machines'::regclass)
  AND EXISTS (SELECT FROM pg_attribute m
              WHERE m.attrelid = t.oid AND ARRAY[m.attnum] = k.conkey
                AND m.attname = 'machine_id' AND m.atttypid = 'uuid'::regtype)
  AND EXISTS (SELECT FROM pg_constraint f
              WHERE f.contype = 'f' AND f.conrelid = t.oid AND f.conkey = k.conkey
                AND f.confrelid = 'machines'::regclass)
GROUP BY t.oid, t.relname, n.nspname, t.reltuples
ORDER BY t.relname
