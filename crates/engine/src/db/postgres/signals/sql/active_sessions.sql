-- Sessions of other roles hide their kind from a role without
-- pg_read_all_stats; what has a database and a role is a client, or a parallel
-- worker of one.
SELECT 'limit' AS measure, NULL AS subject,
       CASE WHEN pg_catalog.bool_or(a.query = '<insufficient privilege>')
            THEN ':hidden' END AS unknown,
       pg_catalog.count(*) FILTER (WHERE a.state = 'active') AS value
FROM pg_catalog.pg_stat_activity a
CROSS JOIN ours
WHERE a.datid IS NOT NULL AND a.usesysid IS NOT NULL
  AND coalesce(a.backend_type, 'client backend') = 'client backend'
  AND a.pid <> ALL (ours.pids)
  AND a.pid <> pg_catalog.pg_backend_pid()
