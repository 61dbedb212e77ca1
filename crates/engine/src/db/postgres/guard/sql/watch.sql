-- Our guarded transaction as the server sees it, by its backend ($1) and the
-- name that it gave itself ($2) with SET LOCAL: another transaction of the
-- same backend has another name.
SELECT a.xact_start::text AS xact_start, a.backend_xid::text AS xid
FROM pg_catalog.pg_stat_activity a
WHERE a.pid = $1 AND a.application_name = $2 AND a.xact_start IS NOT NULL
