-- Whether there is anything for a janitor to do: sessions that have expired, and which of these tasks
-- are due. Reads only, for that is what nearly every turn comes to.
SELECT EXISTS (SELECT 1 FROM sessions WHERE session_deadline < clock_timestamp()) AS expired,
       ARRAY(SELECT task FROM upkeep
             WHERE task = ANY ($1) AND due_at <= clock_timestamp() ORDER BY due_at) AS due
