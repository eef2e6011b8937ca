-- The state of each candidate's gates for a process, in the order of the candidates. What keeps the process
-- from starting on the machines of a provider is determined once for each provider.
WITH asked AS MATERIALIZED (
    SELECT $1::text AS process,
           coalesce((SELECT d.lane FROM process_def d WHERE d.process = $1), $1) AS lane
), candidate AS MATERIALIZED (
    SELECT c.machine_id, c.position, m.machine_id IS NOT NULL AS known, p.provider
    FROM unnest($2::uuid[]) WITH ORDINALITY c (machine_id, position)
    LEFT JOIN machines m ON m.machine_id = c.machine_id
    LEFT JOIN machine_provided p ON p.machine_id = c.machine_id
), closed AS MATERIALIZED (
    SELECT p.provider, g.*
    FROM (SELECT DISTINCT c.provider FROM candidate c
          WHERE EXISTS (SELECT FROM process_control l WHERE l.process = $1)) p
    CROSS JOIN LATERAL (
        SELECT g.gate, g.opens_at, g.paused_by, g.reason FROM process_gates($1, p.provider) g
        WHERE g.room = 0
        -- A pause before a limit, and the one that lasts longest.
        ORDER BY g.gate DESC, g.opens_at DESC NULLS FIRST LIMIT 1
    ) g
)
SELECT c.machine_id,
       c.known,
       EXISTS (SELECT 1 FROM machine_hold h WHERE h.machine_id = c.machine_id) AS on_hold,
       i.hold_reason,
       EXISTS (SELECT 1 FROM work_item l
               WHERE l.machine_id = c.machine_id AND l.lane = p.lane
                 AND l.session_id IS NOT NULL) AS lane_taken,
       CASE WHEN i.backoff_until > clock_timestamp() THEN i.backoff_until END AS backoff_until,
       g.gate, g.opens_at, g.paused_by, g.reason
FROM asked p
CROSS JOIN candidate c
LEFT JOIN work_item i ON i.machine_id = c.machine_id AND i.process = p.process
LEFT JOIN closed g ON g.provider IS NOT DISTINCT FROM c.provider
ORDER BY c.position
