-- Judges the finishes of this transaction, after its plan. A machine that is still due has been finished
-- without effect; one that was finished soon after the time before, and that not for the first time, flaps.
-- Both rest, each following time twice as long. The second quick finish counts as the second time, so that a
-- machine gets three starts in quick succession at most. All times are those of the definition now. Processes
-- without a workflow are never due, and never rest.
WITH finished AS MATERIALIZED (
    SELECT i.machine_id, i.process, f.permille, i.unproductive AS unproductive_before,
           d.rest_initial_seconds, d.rest_maximum_seconds, d.flapping_within_seconds, k.is_due,
           CASE WHEN k.is_due THEN least(i.unproductive, 9223372036854775806) + 1 ELSE 0 END AS unproductive,
           -- Only finishes that changed something count: release.sql has counted this one too.
           CASE WHEN k.is_due THEN greatest(i.flapping - 1, 0) ELSE i.flapping END AS flapping
    FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[]) AS f (machine_id, process, fence, permille)
    JOIN work_item i ON i.machine_id = f.machine_id AND i.process = f.process
    JOIN process_def d ON d.process = f.process AND d.workflow IS NOT NULL
    CROSS JOIN LATERAL (SELECT i.eligible AND i.plan_at <= clock_timestamp() AS is_due) k
    WHERE i.fence = f.fence AND i.session_id IS NULL AND i.finished_at = now()
), judged AS MATERIALIZED (
    SELECT f.*,
           CASE WHEN is_due OR flapping >= 2
                THEN least(rest_maximum_seconds,
                           rest_initial_seconds * 2 ^ least(CASE WHEN is_due THEN unproductive - 1
                                                                 ELSE flapping - 1 END, 31))::bigint
           END AS seconds
    FROM finished f
    ORDER BY machine_id, process
)
UPDATE work_item i
SET unproductive = j.unproductive, flapping = j.flapping, last_interval_seconds = j.seconds,
    -- Up to a tenth longer, so that machines that were finished at once do not come back at once.
    backoff_until = clock_timestamp() + j.seconds * (1 + j.permille / 10000.0) * interval '1 second',
    cause = CASE WHEN j.is_due THEN 'finished, and the machine is still due'
                 WHEN j.seconds IS NOT NULL
                 THEN format('finished %s times, each time within %s s of the one before',
                             j.flapping + 1, j.flapping_within_seconds) END
FROM judged j
WHERE i.machine_id = j.machine_id AND i.process = j.process
  AND (j.seconds IS NOT NULL OR j.unproductive_before <> 0)
RETURNING i.fence, i.backoff_until, i.unproductive, i.flapping
