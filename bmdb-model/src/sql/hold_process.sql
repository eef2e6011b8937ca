-- Puts one process on hold on many machines, or changes the reasons. A trigger closes the items' first gate,
-- and plans keep it closed. A machine may have no item of the process yet. The arrays are in machine order.
INSERT INTO work_item AS i (machine_id, process, lane, hold_reason, hold_since)
SELECT b.machine_id, $1, coalesce((SELECT d.lane FROM process_def d WHERE d.process = $1), $1), b.reason,
       clock_timestamp()
FROM unnest($2::uuid[], $3::text[]) AS b (machine_id, reason)
ON CONFLICT (machine_id, process) DO UPDATE
SET hold_reason = excluded.hold_reason, hold_since = coalesce(i.hold_since, excluded.hold_since),
    eligible = false, plan_at = NULL
