-- Deletes no more of it at once than it has looked at, and nothing that a failure has been folded into
-- meanwhile: that one has ended just now.
, deleted AS (
    DELETE FROM work_attempt a
    WHERE a.ctid = ANY (ARRAY(SELECT at FROM surplus LIMIT $2))
      AND (a.machine_id, a.last_fence) IN (SELECT s.machine_id, s.last_fence FROM surplus s)
    RETURNING 1
)
SELECT (SELECT machine_id FROM next ORDER BY machine_id DESC LIMIT 1) AS last,
       (SELECT count(*) FROM next) < $2 AS is_last,
       (SELECT count(*) FROM surplus) > $2 AS is_more,
       (SELECT count(*) FROM deleted) AS deleted
