-- Moves agents' heartbeats forward, with the fence check inside where a session is given. Returns
-- the machines without a heartbeat that could be moved: those have to be planned.
-- The rows are locked first, in id order, or two batches could wait for each other.
WITH alive AS MATERIALIZED (
    SELECT 1 FROM sessions
    WHERE session_id = $1::uuid AND session_deadline > clock_timestamp()
    FOR KEY SHARE
), beat AS MATERIALIZED (
    SELECT * FROM unnest($2::uuid[], $3::timestamptz[]) AS b (machine_id, at)
    WHERE $1 IS NULL OR EXISTS (SELECT 1 FROM alive)
), locked AS MATERIALIZED (
    SELECT h.machine_id, b.at
    FROM machine_agent_heartbeat h JOIN beat b ON b.machine_id = h.machine_id
    ORDER BY h.machine_id
    FOR NO KEY UPDATE OF h
), moved AS (
    UPDATE machine_agent_heartbeat h
    SET agent_heartbeat_at = coalesce(l.at, clock_timestamp())
    FROM locked l
    WHERE h.machine_id = l.machine_id
      AND h.agent_heartbeat_at <= coalesce(l.at, clock_timestamp())
    RETURNING h.machine_id
)
SELECT s.lives, r.machine_id
FROM (SELECT $1 IS NULL OR EXISTS (SELECT 1 FROM alive) AS lives) s
LEFT JOIN (SELECT machine_id FROM beat EXCEPT SELECT machine_id FROM moved) r ON true
