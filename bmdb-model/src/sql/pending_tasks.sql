-- Whether there is anything for a janitor to do: expired sessions, and which of these tasks are due. Most
-- of the janitor's rounds end here, so the statement only reads.
SELECT EXISTS (SELECT 1 FROM sessions WHERE session_deadline < clock_timestamp()) AS expired,
       ARRAY(SELECT task FROM upkeep
             WHERE task = ANY ($1) AND due_at <= clock_timestamp() ORDER BY due_at) AS due
