UPDATE work_item i
SET unproductive = j.unproductive, flapping = j.flapping, last_interval_seconds = j.seconds,
    backoff_until = clock_timestamp() + j.rest, cause = j.cause
FROM judged j
WHERE i.machine_id = j.machine_id AND i.process = j.process
  AND (j.seconds IS NOT NULL OR j.unproductive_before <> 0)
RETURNING i.fence, i.backoff_until, i.unproductive, i.flapping
