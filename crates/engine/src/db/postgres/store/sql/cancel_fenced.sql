-- Cancels the statements of transactions that still hold the run's advisory
-- lock: they belong to a former holder of the lease and can only fail.
SELECT pg_catalog.pg_cancel_backend(k.pid)
FROM pg_catalog.pg_locks k
JOIN pg_catalog.pg_database d ON d.oid = k.database
WHERE k.locktype = 'advisory'
  AND d.datname = pg_catalog.current_database()
  AND k.objsubid = 1
  AND ((k.classid::bigint << 32) | k.objid::bigint) = pontoon.run_key($1)
  AND k.mode = 'ShareLock'
  AND k.granted
  AND k.pid <> pg_catalog.pg_backend_pid()
