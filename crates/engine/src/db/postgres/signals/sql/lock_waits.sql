-- A wait for a row shows as one for a transaction, which belongs to no
-- database: the session's own database decides.
SELECT 'limit' AS measure, NULL AS subject, NULL AS unknown,
       pg_catalog.count(DISTINCT w.pid) AS value
FROM pg_catalog.pg_locks w
JOIN pg_catalog.pg_stat_activity a ON a.pid = w.pid
CROSS JOIN ours
WHERE NOT w.granted
  AND a.datname = pg_catalog.current_database()
  AND w.pid <> ALL (ours.pids)
  AND w.pid <> pg_catalog.pg_backend_pid()
