SELECT 'limit' AS measure, NULL AS subject, NULL AS unknown,
       (SELECT pg_catalog.count(DISTINCT w.pid)
        FROM pg_catalog.pg_locks w
        WHERE NOT w.granted
          AND pg_catalog.cardinality(ours.pids) > 0
          AND w.pid <> ALL (ours.pids)
          AND pg_catalog.pg_blocking_pids(w.pid) && ours.pids) AS value
FROM ours
