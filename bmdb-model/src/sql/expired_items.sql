-- The work of sessions that the caller holds locked, in the lock order of items, with what is
-- needed to judge the loss.
SELECT i.machine_id, i.process, i.losses, coalesce(d.loss_initial_seconds, 15) AS loss_initial,
       coalesce(d.loss_maximum_seconds, 3600) AS loss_maximum
FROM work_item i
LEFT JOIN process_def d ON d.process = i.process
WHERE i.session_id = ANY ($1)
ORDER BY i.machine_id, i.process
FOR NO KEY UPDATE OF i
