-- Serialises the writers of tags of the same machines, in id order. An update and not a mere lock:
-- a SERIALIZABLE writer that waited for it gets a 40001 instead of planning from its old snapshot.
WITH locked AS MATERIALIZED (
    SELECT machine_id FROM machines
    WHERE machine_id = ANY ($1)
    ORDER BY machine_id
    FOR NO KEY UPDATE
)
UPDATE machines m SET machine_version = least(m.machine_version, 9223372036854775806) + 1
FROM locked l WHERE m.machine_id = l.machine_id
RETURNING m.machine_id
