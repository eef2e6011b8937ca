-- The first entry of one provider's queue from a floor on, due or not: where it is not, its time says
-- when to look again. It is ordered as the index is, or statistics that call everything due make the
-- planner look for it in the whole table.
WITH candidate AS MATERIALIZED (
    SELECT i.ready_at FROM work_item i
    WHERE i.process = $1 AND i.provider = $2
      AND i.eligible AND i.session_id IS NULL
      AND i.ready_at >= coalesce($3::timestamptz, '-infinity')
    ORDER BY i.provider, i.ready_at
    LIMIT 1
)
