-- The queues of a process that limits, breakers or pauses may stop: one for each provider whose first entry
-- is due. Each comes with how many machines may be claimed from it now, and in how many milliseconds that may
-- become more, if it is none. One step down the index of due items for each provider, and a look at the slots
-- of its partition. Reads only.
WITH RECURSIVE first AS (
    (SELECT i.provider, i.ready_at FROM work_item i
     WHERE i.process = $1 AND ($2::text IS NULL OR i.provider = $2) AND i.provider IS NOT NULL
       AND i.eligible AND i.session_id IS NULL
     ORDER BY i.provider, i.ready_at
     LIMIT 1)
    UNION ALL
    SELECT n.provider, n.ready_at
    FROM first f
    CROSS JOIN LATERAL (
        SELECT i.provider, i.ready_at FROM work_item i
        WHERE i.process = $1 AND $2::text IS NULL AND i.provider > f.provider
          AND i.eligible AND i.session_id IS NULL
        ORDER BY i.provider, i.ready_at
        LIMIT 1
    ) n
), queue AS (
    SELECT provider, ready_at FROM first
    UNION ALL
    (SELECT i.provider, i.ready_at FROM work_item i
     WHERE i.process = $1 AND $2::text IS NULL AND i.provider IS NULL
       AND i.eligible AND i.session_id IS NULL
     ORDER BY i.provider, i.ready_at
     LIMIT 1)
)
SELECT s.lives, s.is_controlled, q.provider IS NOT NULL OR q.ready_at IS NOT NULL, q.provider,
       q.ready_at <= now(),
       ceil(1000 * extract(epoch FROM
           least(greatest(q.ready_at, now()), now() + interval '1 day') - now()))::bigint,
       least(g.room, $3::bigint),
       ceil(1000 * extract(epoch FROM
           least(greatest(g.opens_at, now()), now() + interval '1 day') - now()))::bigint
FROM (SELECT EXISTS (SELECT 1 FROM sessions
                     WHERE session_id = $4 AND session_deadline > clock_timestamp()) AS lives,
             EXISTS (SELECT 1 FROM process_control p WHERE p.process = $1) AS is_controlled) s
LEFT JOIN queue q ON true
LEFT JOIN LATERAL (
    SELECT min(g.room)::bigint AS room, max(g.opens_at) FILTER (WHERE g.room = 0 AND g.kind IS DISTINCT FROM 'Running') AS opens_at
    FROM process_gates($1, q.provider) g
) g ON true
ORDER BY q.ready_at
