-- How many finishes of item i in a row came soon after the one before, with this one. After a rest, a machine
-- could not have been finished earlier than at its end.
CASE WHEN greatest(i.finished_at,
                   CASE WHEN i.failures = 0 AND (i.unproductive > 0 OR i.flapping >= 2)
                        THEN i.backoff_until END) > now() - soon
     THEN least(i.flapping, 9223372036854775806) + 1
     ELSE 0 END
