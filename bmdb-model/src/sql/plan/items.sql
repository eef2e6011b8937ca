), plan AS MATERIALIZED (
    SELECT w.machine_id, w.process, w.lane, coalesce(w.provider, i.provider) AS provider,
           w.listed AND i.hold_reason IS NULL AS eligible,
           -- Ready at once keeps an eligible item's place in the queue: now() at every planning
           -- would send the machine to the end of it.
           CASE WHEN NOT w.listed OR i.hold_reason IS NOT NULL THEN NULL
                WHEN w.ready_at IS NOT NULL THEN w.ready_at
                WHEN i.eligible THEN least(i.plan_at, now())
                ELSE now() END AS plan_at,
           i.process IS NOT NULL AS planned, i.lane AS old_lane, i.provider AS old_provider,
           i.eligible AS old_eligible, i.plan_at AS old_plan_at/* finishes */
    FROM wanted w
    -- One key at a time, whatever the statistics say.
    LEFT JOIN LATERAL (
        SELECT * FROM work_item i WHERE i.machine_id = w.machine_id AND i.process = w.process
        OFFSET 0
    ) i ON true
)
