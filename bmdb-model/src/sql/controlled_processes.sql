-- One process, or all that are defined, claimed, or limited in some way; with how many machines are claimed.
WITH claimed AS MATERIALIZED (
    SELECT i.process, count(*) AS claimed FROM work_item i WHERE i.session_id IS NOT NULL GROUP BY i.process
)
SELECT n.process, coalesce(d.lane, n.process), d.process IS NOT NULL, d.workflow, d.off_workflow,
       coalesce(c.claimed, 0)
FROM (
    SELECT $1::text WHERE $1 IS NOT NULL
    UNION SELECT d.process FROM process_def d WHERE $1 IS NULL
    UNION SELECT p.process FROM process_control p WHERE $1 IS NULL
    UNION SELECT c.process FROM claimed c WHERE $1 IS NULL
    UNION SELECT t.process FROM attempt_tally t WHERE $1 IS NULL
) n (process)
LEFT JOIN process_def d ON d.process = n.process
LEFT JOIN claimed c ON c.process = n.process
ORDER BY n.process
