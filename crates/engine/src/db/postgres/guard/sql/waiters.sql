-- Who waits for a lock that the backend $1 holds, and for how long (waitstart
-- is empty for an instant after the wait began).
SELECT k.pid, a.usename::text AS usename, a.application_name,
       coalesce(extract(epoch FROM pg_catalog.clock_timestamp() - k.waitstart) * 1000, 0)::float8 AS waited_ms
FROM pg_catalog.pg_locks k
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = k.pid
WHERE NOT k.granted
  AND k.pid <> $1
  AND $1 = ANY (pg_catalog.pg_blocking_pids(k.pid))
ORDER BY waited_ms DESC
