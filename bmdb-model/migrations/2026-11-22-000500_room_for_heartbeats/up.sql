-- Every row of a page may be written by one and the same batch, whose old versions can only be
-- removed once it is over: a page must have room for each of its rows twice. A row takes 52 bytes,
-- its next version as much and a pointer, so a page may hold 75 rows; at 45 it holds 70.
-- Pages that are fuller already empty themselves, as their rows move elsewhere.
ALTER TABLE machine_agent_heartbeat SET (fillfactor = 45);
