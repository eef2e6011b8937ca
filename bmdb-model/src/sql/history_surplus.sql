-- The history that is not to be kept of the next machines in id order: too old, or beyond what is kept
-- of a machine. By the end of the attempts and not by their fences: a streak that is still growing has
-- an old fence. As many machines as the next rows belong to, however many rows a machine has; their own
-- rows are found by a range, for of a list the planner may make a join with all of the table.
WITH next AS MATERIALIZED (
    SELECT machine_id FROM work_attempt
    -- Not "$1 IS NULL OR": a plan for all parameters would read the index from its start.
    WHERE machine_id >= coalesce($1::uuid, '00000000-0000-0000-0000-000000000000')
      AND machine_id IS DISTINCT FROM $1
    ORDER BY machine_id LIMIT $2
), surplus AS MATERIALIZED (
    SELECT at, machine_id, last_fence
    FROM (
        SELECT a.ctid AS at, a.machine_id, a.last_fence, a.ended_at,
               row_number() OVER (PARTITION BY a.machine_id ORDER BY a.ended_at DESC, a.fence DESC) AS rank
        FROM work_attempt a
        WHERE a.machine_id >= (SELECT machine_id FROM next ORDER BY machine_id LIMIT 1)
          AND a.machine_id <= (SELECT machine_id FROM next ORDER BY machine_id DESC LIMIT 1)
    ) ranked
    WHERE rank > $3 OR ended_at < clock_timestamp() - $4 * interval '1 second'
    LIMIT $2 + 1
)
