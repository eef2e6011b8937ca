-- Whether a session lives, and whether the queue of a time-driven process has anything in it. Reads
-- only: an idle poll is to lock and to write nothing.
SELECT EXISTS (SELECT 1 FROM sessions
               WHERE session_id = $1 AND session_deadline > clock_timestamp()) AS lives,
       (SELECT true FROM work_item i
        WHERE i.process = $2 AND i.provider = $3
          AND i.eligible AND i.session_id IS NULL AND i.ready_at <= now()
        -- As the index is ordered: see the claim.
        ORDER BY i.provider, i.ready_at
        LIMIT 1) IS TRUE AS due
