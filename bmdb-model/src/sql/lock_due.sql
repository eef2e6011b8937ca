-- Locks the machines of seemingly due items, longest due first, so that a later statement can plan
-- them. The limit counts what is locked and not what is found: rivals share a queue between them.
-- Machines whose lane is held are passed over, or they would fill every batch.
SELECT m.machine_id
FROM work_item i
JOIN machines m ON m.machine_id = i.machine_id
WHERE i.process = $1 AND i.provider = $2
  AND i.eligible AND i.session_id IS NULL AND i.ready_at <= now()
  AND (SELECT bool_or(l.session_id IS NOT NULL) FROM work_item l
       WHERE l.machine_id = i.machine_id AND l.lane = i.lane) IS NOT TRUE
ORDER BY i.ready_at
LIMIT $3
FOR NO KEY UPDATE OF m SKIP LOCKED
