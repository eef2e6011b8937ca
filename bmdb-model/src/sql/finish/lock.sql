-- Begins the end of attempts: checks the session, locks the machines and the items of the attempts that the
-- session still has, unless another transaction has locked them, and touches machines about which something is
-- written, as touch.sql does. The session is locked first, and items after machines, each in the order in which
-- everybody locks them.
WITH alive AS MATERIALIZED (
    SELECT 1 FROM sessions
    WHERE session_id = $1 AND session_deadline > clock_timestamp()
    FOR KEY SHARE
), machine AS MATERIALIZED (
    SELECT m.machine_id FROM machines m
    WHERE m.machine_id = ANY ($2::uuid[]) AND EXISTS (SELECT 1 FROM alive)
    ORDER BY m.machine_id
    FOR NO KEY UPDATE SKIP LOCKED
), item AS MATERIALIZED (
    SELECT i.machine_id, i.fence FROM work_item i
    JOIN unnest($4::uuid[], $5::text[], $6::bigint[]) AS a (machine_id, process, fence)
      ON i.machine_id = a.machine_id AND i.process = a.process
    WHERE i.fence = a.fence AND i.session_id IS NOT DISTINCT FROM $1
      AND EXISTS (SELECT 1 FROM alive)
      -- Machines are locked first.
      AND (SELECT count(*) FROM machine) >= 0
    ORDER BY i.machine_id, i.process
    FOR NO KEY UPDATE OF i SKIP LOCKED
), touched AS (
    -- As arrays, because a join of these parts compares each with each, slowly.
    UPDATE machines m SET machine_version = least(m.machine_version, 9223372036854775806) + 1
    WHERE m.machine_id = ANY (ARRAY(
        SELECT l.machine_id FROM machine l
        WHERE l.machine_id = ANY ($3::uuid[]) AND l.machine_id = ANY (ARRAY(SELECT machine_id FROM item))))
)
SELECT EXISTS (SELECT 1 FROM alive) AS lives, (SELECT version FROM definitions_version) AS version,
       ARRAY(SELECT fence FROM item) AS items, ARRAY(SELECT machine_id FROM machine) AS machines,
       -- Read only if an item was not locked: a fence is never used again, so what is not claimed is lost.
       ARRAY(SELECT i.fence FROM work_item i
             JOIN unnest($4::uuid[], $5::text[], $6::bigint[]) AS a (machine_id, process, fence)
               ON i.machine_id = a.machine_id AND i.process = a.process
             WHERE i.fence = a.fence AND i.session_id IS NOT DISTINCT FROM $1
               AND (SELECT count(*) FROM item) < cardinality($6)) AS claimed
