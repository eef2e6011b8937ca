-- All processes that left any sign: one step down an index for each queue and for the backoffs; the claimed
-- items, which are no more than components work on at once; and a day of attempt counts.
WITH RECURSIVE queued AS (
    (SELECT i.process FROM work_item i
     WHERE i.eligible AND i.session_id IS NULL
     ORDER BY i.process LIMIT 1)
    UNION ALL
    SELECT n.process
    FROM queued q
    CROSS JOIN LATERAL (
        SELECT i.process FROM work_item i
        WHERE i.process > q.process AND i.eligible AND i.session_id IS NULL
        ORDER BY i.process LIMIT 1
    ) n
), resting AS (
    (SELECT i.process FROM work_item i
     WHERE i.backoff_until IS NOT NULL AND i.session_id IS NULL
     ORDER BY i.process LIMIT 1)
    UNION ALL
    SELECT n.process
    FROM resting r
    CROSS JOIN LATERAL (
        SELECT i.process FROM work_item i
        WHERE i.process > r.process AND i.backoff_until IS NOT NULL AND i.session_id IS NULL
        ORDER BY i.process LIMIT 1
    ) n
)
SELECT process FROM process_def
UNION SELECT process FROM queued
UNION SELECT process FROM resting
UNION SELECT process FROM work_item WHERE session_id IS NOT NULL
UNION SELECT process FROM attempt_tally
ORDER BY process
