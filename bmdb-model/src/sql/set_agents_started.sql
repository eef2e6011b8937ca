-- Sets the tag of many machines, and deletes heartbeats from before the start: those of an earlier
-- agent. Heartbeats are locked first, in id order, or this and a batch of heartbeats could wait for
-- each other. The arrays are in machine order.
WITH started AS (
    INSERT INTO machine_agent_started AS s (machine_id, agent_started_at, agent_public_key)
    SELECT b.machine_id, coalesce(b.at, clock_timestamp()), b.public_key
    FROM unnest($1::uuid[], $2::timestamptz[], $3::bytea[]) AS b (machine_id, at, public_key)
    ON CONFLICT (machine_id) DO UPDATE SET agent_started_at = excluded.agent_started_at,
        agent_public_key = excluded.agent_public_key
    RETURNING s.machine_id, s.agent_started_at
), older AS MATERIALIZED (
    SELECT h.machine_id
    FROM machine_agent_heartbeat h JOIN started s ON s.machine_id = h.machine_id
    WHERE h.agent_heartbeat_at < s.agent_started_at
    ORDER BY h.machine_id
    FOR UPDATE OF h
)
DELETE FROM machine_agent_heartbeat h USING older o WHERE h.machine_id = o.machine_id
