-- Deletes the heartbeats of many machines, and returns the machines that had one. They are locked first,
-- in id order, or this and a batch of heartbeats could wait for each other.
WITH beating AS MATERIALIZED (
    SELECT machine_id FROM machine_agent_heartbeat
    WHERE machine_id = ANY ($1)
    ORDER BY machine_id
    FOR UPDATE
)
DELETE FROM machine_agent_heartbeat
WHERE machine_id = ANY (ARRAY(SELECT machine_id FROM beating))
RETURNING machine_id
