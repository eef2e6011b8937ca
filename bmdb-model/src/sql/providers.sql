-- The providers that machines come from: one step down the index for each.
WITH RECURSIVE provider AS (
    (SELECT p.provider FROM machine_provided p ORDER BY p.provider LIMIT 1)
    UNION ALL
    SELECT n.provider FROM provider l CROSS JOIN LATERAL (
        SELECT p.provider FROM machine_provided p WHERE p.provider > l.provider
        ORDER BY p.provider LIMIT 1) n
)
