-- The work of these sessions, in the lock order of items, with what is needed to judge the loss.
SELECT i.machine_id, i.process, i.session_id, i.fence, i.losses,
       coalesce(d.loss_initial_seconds, 15) AS loss_initial,
       coalesce(d.loss_maximum_seconds, 3600) AS loss_maximum
FROM work_item i
LEFT JOIN process_def d ON d.process = i.process
-- The second condition is what lets the index of what is held be used, whatever the array.
WHERE i.session_id = ANY ($1) AND i.session_id IS NOT NULL
ORDER BY i.machine_id, i.process
