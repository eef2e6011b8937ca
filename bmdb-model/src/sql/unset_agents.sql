-- Deletes the agent tags of many machines, and returns the machines that had one. Heartbeats are locked
-- first, in id order, or this and a batch of heartbeats could wait for each other.
WITH beating AS MATERIALIZED (
    SELECT machine_id FROM machine_agent_heartbeat
    WHERE machine_id = ANY ($1)
    ORDER BY machine_id
    FOR UPDATE
), silenced AS (
    DELETE FROM machine_agent_heartbeat
    WHERE machine_id = ANY (ARRAY(SELECT machine_id FROM beating))
    RETURNING machine_id
), stopped AS (
    DELETE FROM machine_agent_started WHERE machine_id = ANY ($1)
    RETURNING machine_id
)
SELECT machine_id FROM silenced UNION SELECT machine_id FROM stopped
