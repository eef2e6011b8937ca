-- Whether a session is alive, and the head of the queue of a process that replans on claim. Reads only,
-- because an idle poll must not lock or write.
SELECT EXISTS (SELECT 1 FROM sessions
               WHERE session_id = $4 AND session_deadline > clock_timestamp()) AS lives,
       (SELECT due_in FROM head) AS due_in,
       -- What is not due is not claimed anyhow.
       CASE WHEN (SELECT due FROM head)
            THEN EXISTS (SELECT 1 FROM process_control p WHERE p.process = $1) ELSE false END AS is_controlled
