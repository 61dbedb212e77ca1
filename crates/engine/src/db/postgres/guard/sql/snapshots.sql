-- Who still looks at the database as it was before the last backfill or verify
-- pass of the run ($1) ended: cursors commit with their batches, so the newest
-- of their transactions tells when that was. $2 are backends of ours. Without pg_monitor the
-- snapshots of other roles are hidden.
SELECT a.pid, a.usename::text AS usename, a.application_name, a.state,
       (extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start) * 1000)::float8 AS age_ms,
       pg_catalog.left(a.query, 200) AS query
FROM pg_catalog.pg_stat_activity a
WHERE a.datname = pg_catalog.current_database()
  AND a.backend_type = 'client backend'
  AND a.pid <> pg_catalog.pg_backend_pid()
  AND a.pid <> ALL ($2)
  AND pg_catalog.age(a.backend_xmin) >= (
      SELECT min(pg_catalog.age(r.xmin)) FROM pontoon.range r WHERE r.run = $1)
ORDER BY age_ms DESC NULLS LAST, a.pid
