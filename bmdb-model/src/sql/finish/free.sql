, freed AS (
    UPDATE work_item i
    SET session_id = NULL, started_at = NULL, failures = 0, losses = 0, finished_at = now(),
        lane = j.lane, provider = j.provider, eligible = j.eligible, plan_at = j.plan_at,
        unproductive = j.unproductive, flapping = j.flapping, last_interval_seconds = j.seconds,
        backoff_until = clock_timestamp() + j.rest, cause = j.cause
    FROM judged j
    WHERE i.machine_id = j.machine_id AND i.process = j.process
    RETURNING i.fence, i.backoff_until, i.unproductive, i.flapping
), recorded AS (
    -- A view that lists a machine twice fails here.
    INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id, started_at, ended_at, outcome)
    SELECT machine_id, fence, fence, process, $8, started_at, clock_timestamp(), 'Finished' FROM judged
)
