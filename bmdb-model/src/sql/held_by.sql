-- What a session holds, in the lock order of items. A claim notes its start in the item before the
-- row's entry in the lane's index, for which it may have had to wait until a lane mate had ended. Its
-- worker knows better, but is not asked here; so the attempt starts when the last mate ended.
SELECT i.machine_id, i.process, i.fence,
       greatest(i.started_at, (
           SELECT max(a.ended_at) FROM work_attempt a
           LEFT JOIN process_def d ON d.process = a.process
           WHERE a.machine_id = i.machine_id AND a.fence < i.fence
             AND coalesce(d.lane, a.process) = i.lane)) AS started_at
FROM work_item i
WHERE i.session_id = $1
ORDER BY i.machine_id, i.process
