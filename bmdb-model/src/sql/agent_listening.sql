-- Who listens to the agents of each provider that has machines.
SELECT p.provider, coalesce(l.listened, false),
       CASE WHEN l.listened THEN nullif(a.since, '-infinity') END,
       l.heard_at,
       EXISTS (SELECT FROM agent_listening_since e WHERE e.assumed AND e.provider IN ('', p.provider)),
       p.agents,
       (SELECT count(*) FROM agent_listener_alive r WHERE r.provider IN ('', p.provider))
FROM (SELECT m.provider, count(s.machine_id) AS agents
      FROM machine_provided m LEFT JOIN machine_agent_started s ON s.machine_id = m.machine_id
      GROUP BY m.provider) p
LEFT JOIN agent_listening a ON a.provider = p.provider
LEFT JOIN agent_listening_since l ON l.provider = p.provider
ORDER BY p.provider
