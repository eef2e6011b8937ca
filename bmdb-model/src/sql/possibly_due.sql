-- Whether a session lives, and what is at the head of a time-driven process's queue. Reads only: an
-- idle poll is to lock and to write nothing.
SELECT EXISTS (SELECT 1 FROM sessions
               WHERE session_id = $4 AND session_deadline > clock_timestamp()) AS lives,
       (SELECT due_in FROM head) AS due_in
