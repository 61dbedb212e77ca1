-- Sessions that hold the run's advisory lock: every transaction of the run
-- does, whichever process it belongs to. An advisory lock over a bigint shows
-- its upper half as classid, its lower half as objid, and 1 as objsubid.
SELECT coalesce(pg_catalog.array_agg(DISTINCT l.pid), '{}') AS pids
FROM pg_catalog.pg_locks l
CROSS JOIN (SELECT pontoon.run_key(:run) AS key) AS k
WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND l.mode = 'ShareLock'
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
  AND l.classid::bigint = (k.key >> 32) & 4294967295
  AND l.objid::bigint = k.key & 4294967295
