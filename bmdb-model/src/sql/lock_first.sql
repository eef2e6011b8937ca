-- Locks the first candidate that no other transaction has locked. NO KEY, because a stronger lock would
-- block every insert of a tag.
SELECT m.machine_id
FROM machines m
JOIN unnest($1::uuid[]) WITH ORDINALITY c (machine_id, position) ON c.machine_id = m.machine_id
ORDER BY c.position
LIMIT 1
FOR NO KEY UPDATE OF m SKIP LOCKED
