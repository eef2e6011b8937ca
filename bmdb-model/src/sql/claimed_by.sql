-- Attempts of one session, in the lock order of items. A claim writes its start into the item before the
-- row enters the lane's index, and may have had to wait there until an attempt of the same lane had
-- ended. The attempt therefore starts when the last attempt of its lane ended. (The frozen comment in
-- expire_items.sql calls this file held_by.sql.)
SELECT i.machine_id, i.process, i.fence,
       greatest(i.started_at, (
           SELECT max(a.ended_at) FROM work_attempt a
           LEFT JOIN process_def d ON d.process = a.process
           WHERE a.machine_id = i.machine_id AND a.fence < i.fence
             AND coalesce(d.lane, a.process) = i.lane)) AS started_at
FROM work_item i
WHERE i.session_id = $1
ORDER BY i.machine_id, i.process
