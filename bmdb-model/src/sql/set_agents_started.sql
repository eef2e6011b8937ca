-- Sets the tag of many machines, and deletes heartbeats from before the start: those of an earlier
-- agent. The arrays are in machine order, and heartbeats are locked in that order, one after the other,
-- or this and a batch of heartbeats could wait for each other.
WITH started AS (
    INSERT INTO machine_agent_started AS s (machine_id, agent_started_at, agent_public_key)
    SELECT b.machine_id, coalesce(b.at, clock_timestamp()), b.public_key
    FROM unnest($1::uuid[], $2::timestamptz[], $3::bytea[]) AS b (machine_id, at, public_key)
    ON CONFLICT (machine_id) DO UPDATE SET agent_started_at = excluded.agent_started_at,
        agent_public_key = excluded.agent_public_key
    RETURNING s.machine_id, s.agent_started_at
), older AS MATERIALIZED (
    SELECT o.machine_id
    FROM started s CROSS JOIN LATERAL (
        SELECT h.machine_id FROM machine_agent_heartbeat h
        WHERE h.machine_id = s.machine_id AND h.agent_heartbeat_at < s.agent_started_at
        FOR UPDATE
    ) o
)
DELETE FROM machine_agent_heartbeat WHERE machine_id = ANY (ARRAY(SELECT machine_id FROM older))
