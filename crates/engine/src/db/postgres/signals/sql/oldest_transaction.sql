WITH session AS (
    SELECT a.pid, a.application_name, a.state, a.xact_start,
           -- A hidden session that is in a transaction is known by its lock.
           a.query = '<insufficient privilege>' AND EXISTS (
               SELECT FROM pg_catalog.pg_locks l
               WHERE l.pid = a.pid AND l.locktype = 'virtualxid' AND l.granted) AS hidden
    FROM pg_catalog.pg_stat_activity a
    CROSS JOIN ours
    WHERE a.datname = pg_catalog.current_database() AND a.usesysid IS NOT NULL
      AND coalesce(a.backend_type, 'client backend') = 'client backend'
      AND a.pid <> ALL (ours.pids)
      AND a.pid <> pg_catalog.pg_backend_pid()
), oldest AS (
    SELECT 'pid ' || s.pid || coalesce(', ' || nullif(s.application_name, ''), '')
           || coalesce(', ' || s.state, '') AS subject, s.xact_start AS began
    FROM session s WHERE s.xact_start IS NOT NULL
    UNION ALL
    SELECT 'prepared transaction ' || p.gid, p.prepared
    FROM pg_catalog.pg_prepared_xacts p WHERE p.database = pg_catalog.current_database()
    ORDER BY began
    LIMIT 1
)
SELECT 'limit' AS measure, o.subject, NULL AS unknown,
       extract(epoch FROM pg_catalog.clock_timestamp() - o.began) AS value
FROM oldest o
UNION ALL
SELECT 'limit', 'pid ' || s.pid, ':hidden', NULL
FROM session s WHERE s.hidden
