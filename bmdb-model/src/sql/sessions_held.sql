-- How much the sessions of a page hold: counted among what is held, by whomever, of which no more than
-- 10,000 items are looked at. In the index's order, or the planner may read the whole table for it.
, held AS MATERIALIZED (
    SELECT session_id FROM work_item
    WHERE session_id IS NOT NULL
    ORDER BY machine_id, lane LIMIT 10001
), counted AS (
    SELECT session_id, count(*) AS held FROM held GROUP BY session_id
)
SELECT p.session_id, p.session_component_name, p.session_runtime_info, p.session_created_at,
       p.session_interval_seconds, p.session_deadline,
       p.session_deadline > clock_timestamp() AS is_live,
       coalesce(c.held, 0) AS held,
       (SELECT count(*) FROM held) <= 10000 AS all_counted
FROM page p
LEFT JOIN counted c ON c.session_id = p.session_id
ORDER BY p.session_created_at DESC, p.session_id DESC
