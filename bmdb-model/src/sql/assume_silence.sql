-- Lets the silence of a provider's agents count although nobody listens to them, if the process is for silent
-- machines: its workflow reads the view agent_silence. Returns the providers for which that is new.
WITH RECURSIVE made_of AS (
    SELECT to_regclass(quote_ident(d.workflow))::oid AS oid FROM process_def d WHERE d.process = $1
    UNION
    SELECT p.refobjid
    FROM made_of m
    JOIN pg_rewrite w ON w.ev_class = m.oid
    JOIN pg_depend p ON p.classid = 'pg_rewrite'::regclass AND p.objid = w.oid
                    AND p.refclassid = 'pg_class'::regclass AND p.refobjid <> m.oid
), provider AS (
    (SELECT p.provider FROM machine_provided p ORDER BY p.provider LIMIT 1)
    UNION ALL
    SELECT n.provider FROM provider l CROSS JOIN LATERAL (
        SELECT p.provider FROM machine_provided p WHERE p.provider > l.provider
        ORDER BY p.provider LIMIT 1) n
)
INSERT INTO agent_listening AS a (provider, since, assumed)
SELECT p.provider, clock_timestamp(), true
FROM provider p
LEFT JOIN agent_listening_since l ON l.provider = p.provider
WHERE EXISTS (SELECT FROM made_of m WHERE m.oid = 'agent_silence'::regclass)
  AND p.provider = coalesce($2::text, p.provider)
  AND NOT coalesce(l.listened OR l.assumed, false)
ON CONFLICT (provider) DO UPDATE SET assumed = true
RETURNING a.provider
