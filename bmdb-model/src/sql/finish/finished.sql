-- The finishes of this transaction, after its plan. Processes without a workflow are never due, and never rest.
WITH finished AS MATERIALIZED (
    SELECT i.machine_id, i.process, f.permille, i.unproductive AS unproductive_before, i.flapping AS quick,
           d.rest_initial_seconds, d.rest_maximum_seconds, d.flapping_within_seconds,
           i.eligible AND i.plan_at <= clock_timestamp() AS is_due
    FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[]) AS f (machine_id, process, fence, permille)
    JOIN work_item i ON i.machine_id = f.machine_id AND i.process = f.process
    JOIN process_def d ON d.process = f.process AND d.workflow IS NOT NULL
    WHERE i.fence = f.fence AND i.session_id IS NULL AND i.finished_at = now()
)
