-- Claims one machine for a process that may have no item yet. The caller holds the machine's row
-- and has looked at the gates; a rival claim through the queue locks no machine, so the item's own
-- gates are tested again on the row that is updated, and the lane by its unique index. Nor does a hold.
INSERT INTO work_item AS i (machine_id, process, lane, session_id, started_at, fence)
SELECT $1, $2, coalesce((SELECT d.lane FROM process_def d WHERE d.process = $2), $2),
       $3, clock_timestamp(), nextval('work_fence')
WHERE (SELECT true FROM machine_hold h WHERE h.machine_id = $1) IS NOT TRUE
ON CONFLICT (machine_id, process) DO UPDATE
SET session_id = excluded.session_id,
    lane = excluded.lane,
    started_at = clock_timestamp(),
    fence = nextval('work_fence')
WHERE i.session_id IS NULL AND i.hold_reason IS NULL
  AND (i.backoff_until IS NULL OR i.backoff_until <= clock_timestamp())
-- Not i.started_at: that was noted before a wait for a lane mate to end, if there was one.
RETURNING i.machine_id, i.fence, clock_timestamp() AS started_at, i.failures,
    CASE WHEN i.failures > 0 THEN i.last_interval_seconds END AS previous_interval
