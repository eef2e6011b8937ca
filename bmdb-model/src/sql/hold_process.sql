-- Puts one process on hold on a machine, or changes the reason. A trigger closes the item's first gate, and
-- plans keep it closed. The machine may have no item of the process yet.
INSERT INTO work_item AS i (machine_id, process, lane, hold_reason, hold_since)
VALUES ($1, $2, coalesce((SELECT d.lane FROM process_def d WHERE d.process = $2), $2), $3, clock_timestamp())
ON CONFLICT (machine_id, process) DO UPDATE
SET hold_reason = excluded.hold_reason, hold_since = coalesce(i.hold_since, excluded.hold_since),
    eligible = false, plan_at = NULL
