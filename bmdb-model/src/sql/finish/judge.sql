-- Judges finishes by the plan. A machine that is still due has been finished without effect; one that was
-- finished soon after the time before, and that not for the first time, flaps. Both rest, each following time
-- twice as long. The second quick finish counts as the second time, so that a machine gets three starts in
-- quick succession at most. All times are those of the definition now.
, counted AS (
    SELECT f.*, CASE WHEN is_due THEN least(unproductive_before, 9223372036854775806) + 1 ELSE 0 END AS unproductive,
           -- Only finishes that changed something count, and this one has been counted.
           CASE WHEN is_due THEN greatest(quick - 1, 0) ELSE quick END AS flapping
    FROM finished f
), rested AS (
    SELECT c.*,
           CASE WHEN is_due OR flapping >= 2
                THEN least(rest_maximum_seconds,
                           rest_initial_seconds * 2 ^ least(CASE WHEN is_due THEN unproductive - 1
                                                                 ELSE flapping - 1 END, 31))::bigint
           END AS seconds
    FROM counted c
), judged AS MATERIALIZED (
    SELECT r.*,
           -- Up to a tenth longer, so that machines that were finished at once do not come back at once.
           seconds * (1 + permille / 10000.0) * interval '1 second' AS rest,
           CASE WHEN is_due THEN 'finished, and the machine is still due'
                WHEN seconds IS NOT NULL
                THEN format('finished %s times, each time within %s s of the one before',
                            flapping + 1, flapping_within_seconds) END AS cause
    FROM rested r
    ORDER BY machine_id, process
)
