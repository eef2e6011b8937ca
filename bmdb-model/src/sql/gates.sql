-- The state of each candidate's gates for a process, in the order of the candidates.
SELECT c.machine_id,
       m.machine_id IS NOT NULL AS known,
       EXISTS (SELECT 1 FROM machine_hold h WHERE h.machine_id = c.machine_id) AS on_hold,
       EXISTS (SELECT 1 FROM work_item l
               WHERE l.machine_id = c.machine_id AND l.lane = p.lane
                 AND l.session_id IS NOT NULL) AS lane_taken,
       (SELECT i.backoff_until FROM work_item i
        WHERE i.machine_id = c.machine_id AND i.process = p.process
          AND i.backoff_until > clock_timestamp()) AS backoff_until
FROM (SELECT $1::text AS process,
             coalesce((SELECT d.lane FROM process_def d WHERE d.process = $1), $1) AS lane) p
CROSS JOIN unnest($2::uuid[]) WITH ORDINALITY c (machine_id, position)
LEFT JOIN machines m ON m.machine_id = c.machine_id
ORDER BY c.position
