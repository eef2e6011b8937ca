), wanted AS (
    SELECT m.machine_id, d.process, d.lane, l.provider, l.ready_at,
           l.machine_id IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM machine_hold h WHERE h.machine_id = m.machine_id) AS eligible
    FROM machine m
    CROSS JOIN definition d
    LEFT JOIN listed l ON l.machine_id = m.machine_id AND l.process = d.process
    UNION ALL
    -- A process that has lost its workflow is due nowhere any more.
    SELECT i.machine_id, i.process, i.lane, NULL, NULL, false
    FROM machine m
    JOIN work_item i ON i.machine_id = m.machine_id
    WHERE i.eligible AND NOT EXISTS (SELECT 1 FROM definition d WHERE d.process = i.process)
), plan AS (
    SELECT w.machine_id, w.process, w.lane, coalesce(w.provider, i.provider) AS provider, w.eligible,
           -- Ready at once keeps an eligible item's place in the queue: now() at every planning
           -- would send the machine to the end of it.
           CASE WHEN NOT w.eligible THEN NULL
                WHEN w.ready_at IS NOT NULL THEN w.ready_at
                WHEN i.eligible THEN least(i.plan_at, now())
                ELSE now() END AS plan_at,
           i.machine_id IS NOT NULL AS planned, i.lane AS old_lane, i.provider AS old_provider,
           i.eligible AS old_eligible, i.plan_at AS old_plan_at
    FROM wanted w
    LEFT JOIN work_item i ON i.machine_id = w.machine_id AND i.process = w.process
)
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
