-- Whether a transaction is in progress that has lost a value: it holds the
-- advisory lock that the dual write's function takes for that.
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_locks l
    WHERE l.locktype = 'advisory' AND l.objsubid = 2
      AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
      AND l.classid::bigint = $1::integer AND l.objid = $2::text::pg_catalog.regclass::oid
) AS losing
