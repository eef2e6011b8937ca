-- Deletes the heartbeats of many machines, and returns the machines that had one. They are locked first,
-- in id order, or this and a batch of heartbeats could wait for each other.
WITH beating AS MATERIALIZED (
    SELECT machine_id FROM machine_agent_heartbeat
    WHERE machine_id = ANY ($1)
    ORDER BY machine_id
    FOR UPDATE
)
DELETE FROM machine_agent_heartbeat h USING beating b WHERE h.machine_id = b.machine_id
RETURNING h.machine_id
