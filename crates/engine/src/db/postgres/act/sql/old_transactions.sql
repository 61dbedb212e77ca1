-- Transactions of this database that a concurrent index build must outlive.
-- Without pg_monitor other roles' ages are hidden; then nothing is listed.
SELECT a.pid, a.usename::text AS usename, a.application_name, a.state,
       (extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start) * 1000)::float8 AS age_ms
FROM pg_catalog.pg_stat_activity a
WHERE a.datname = pg_catalog.current_database()
  AND a.pid <> pg_catalog.pg_backend_pid()
  AND a.xact_start < pg_catalog.clock_timestamp() - interval '1 second'
  AND (a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL)
  AND a.backend_type = 'client backend'
ORDER BY a.xact_start
LIMIT 5
