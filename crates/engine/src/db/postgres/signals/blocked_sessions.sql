-- An advisory lock over a bigint shows its upper half as classid, its lower
-- half as objid, and 1 as objsubid.
WITH ours AS MATERIALIZED (
    SELECT coalesce(pg_catalog.array_agg(DISTINCT l.pid), '{}') AS pids
    FROM pg_catalog.pg_locks l
    CROSS JOIN (SELECT pontoon.run_key($1) AS key) AS k
    WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted AND l.mode = 'ShareLock'
      AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
      AND l.classid::bigint = (k.key >> 32) & 4294967295
      AND l.objid::bigint = k.key & 4294967295
)
SELECT pg_catalog.count(DISTINCT w.pid)::integer AS blocked
FROM pg_catalog.pg_locks w
CROSS JOIN ours
WHERE NOT w.granted
  AND pg_catalog.cardinality(ours.pids) > 0
  AND w.pid <> ALL (ours.pids)
  AND pg_catalog.pg_blocking_pids(w.pid) && ours.pids
