INSERT INTO work_item AS t (machine_id, process, lane, provider, eligible, plan_at)
SELECT machine_id, process, lane, provider, eligible, plan_at
FROM plan
WHERE (eligible OR planned)
  AND (lane, provider, eligible, plan_at)
      IS DISTINCT FROM (old_lane, old_provider, old_eligible, old_plan_at)
-- Items are locked in the same order by everybody.
ORDER BY machine_id, process
ON CONFLICT (machine_id, process) DO UPDATE
SET lane = CASE WHEN t.session_id IS NULL THEN excluded.lane ELSE t.lane END,
    provider = excluded.provider,
    eligible = excluded.eligible,
    plan_at = excluded.plan_at
