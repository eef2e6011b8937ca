-- The attempt on an item. It starts when the last attempt of its lane ended: see claimed_by.sql.
SELECT i.session_id, i.fence,
       greatest(i.started_at, (
           SELECT max(a.ended_at) FROM work_attempt a
           LEFT JOIN process_def d ON d.process = a.process
           WHERE a.machine_id = i.machine_id AND a.fence < i.fence
             AND coalesce(d.lane, a.process) = i.lane)) AS started_at
FROM work_item i
WHERE i.machine_id = $1 AND i.process = $2 AND i.session_id IS NOT NULL
