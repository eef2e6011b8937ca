-- Sessions, the newest first. Not "$1 IS NULL OR": a plan for all parameters would read the index from
-- its start.
WITH page AS MATERIALIZED (
    SELECT * FROM sessions
    WHERE (session_created_at, session_id)
          < (coalesce($1::timestamptz, 'infinity'), coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
    ORDER BY session_created_at DESC, session_id DESC
    LIMIT $3
)
