-- Releases many machines, and returns those that were on hold. Holds are locked first, in id order,
-- because they are set without a lock of the machine.
WITH on_hold AS MATERIALIZED (
    SELECT machine_id FROM machine_hold
    WHERE machine_id = ANY ($1)
    ORDER BY machine_id
    FOR UPDATE
)
DELETE FROM machine_hold WHERE machine_id = ANY (ARRAY(SELECT machine_id FROM on_hold))
RETURNING machine_id
