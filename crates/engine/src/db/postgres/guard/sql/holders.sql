-- Who holds locks on these tables ($1); $2 are backends of ours.
-- pg_locks shows everyone's locks to every role; who may not see another's
-- activity (no pg_monitor) gets NULL for its age, state and query.
SELECT k.relation AS oid, k.mode, k.granted, coalesce(k.pid, 0) AS pid,
       k.virtualtransaction AS owner,
       p.gid,
       coalesce(a.usename, p.owner)::text AS usename,
       a.application_name, a.state, a.backend_type,
       (extract(epoch FROM pg_catalog.clock_timestamp() - coalesce(a.xact_start, p.prepared)) * 1000)::float8 AS age_ms,
       CASE WHEN a.query = '<insufficient privilege>' THEN NULL
            ELSE pg_catalog.left(a.query, 200) END AS query
FROM pg_catalog.pg_locks k
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = k.pid
-- A prepared transaction has no backend; it keeps the virtual id that it had,
-- and is told by the lock on its own transaction id.
LEFT JOIN LATERAL (
    SELECT x.gid, x.owner, x.prepared
    FROM pg_catalog.pg_locks t
    JOIN pg_catalog.pg_prepared_xacts x ON x.transaction = t.transactionid
    WHERE k.pid IS NULL
      AND t.locktype = 'transactionid' AND t.mode = 'ExclusiveLock' AND t.pid IS NULL
      AND t.virtualtransaction = k.virtualtransaction
    LIMIT 1
) p ON true
WHERE k.locktype = 'relation'
  AND k.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
  AND k.relation = ANY ($1)
  AND k.granted
  AND k.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
  AND (k.pid IS NULL OR k.pid <> ALL ($2))
ORDER BY age_ms DESC NULLS LAST, k.pid
