-- How many items each session of the page has claimed. At most 10,000 claimed items are read, of all
-- sessions, in the order of the index, because the planner may otherwise read the whole table.
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
       p.session_deadline > clock_timestamp() + (p.session_interval_seconds + 1) * interval '1 second' AS is_overlong,
       coalesce(c.held, 0) AS held,
       (SELECT count(*) FROM held) <= 10000 AS all_counted
FROM page p
LEFT JOIN counted c ON c.session_id = p.session_id
ORDER BY p.session_created_at DESC, p.session_id DESC
