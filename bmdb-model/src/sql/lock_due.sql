-- Locks the machines of items that seem due, the longest due first, so that a later statement can plan
-- them. The limit counts locked rows, not found ones, so concurrent claims share a queue. Machines whose
-- lane is claimed are skipped; they would fill every batch.
SELECT m.machine_id
FROM work_item i
JOIN machines m ON m.machine_id = i.machine_id
WHERE i.process = $1 AND i.provider = $2
  AND i.eligible AND i.session_id IS NULL AND i.ready_at <= now()
  AND (SELECT bool_or(l.session_id IS NOT NULL) FROM work_item l
       WHERE l.machine_id = i.machine_id AND l.lane = i.lane) IS NOT TRUE
  AND ((SELECT pg_relation_size('machine_hold') > 0)
       AND (SELECT true FROM machine_hold h WHERE h.machine_id = i.machine_id)) IS NOT TRUE
ORDER BY i.ready_at
LIMIT $3
FOR NO KEY UPDATE OF m SKIP LOCKED
