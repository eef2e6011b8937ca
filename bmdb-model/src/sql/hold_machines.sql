-- Puts many machines on hold, or changes the reasons. Returns the machines that exist: the foreign key
-- would abort the transaction. The arrays are in machine order, and the rows are written in that order.
INSERT INTO machine_hold (machine_id, reason)
SELECT m.machine_id, b.reason
FROM unnest($1::uuid[], $2::text[]) AS b (machine_id, reason)
CROSS JOIN LATERAL (
    SELECT m.machine_id FROM machines m WHERE m.machine_id = b.machine_id OFFSET 0
) m
ON CONFLICT (machine_id) DO UPDATE SET reason = excluded.reason
RETURNING machine_id
