-- Cancels that very transaction: the comparison and the signal are one statement.
SELECT pg_catalog.pg_cancel_backend(a.pid)
FROM pg_catalog.pg_stat_activity a
WHERE a.pid = $1 AND a.application_name = $2
  AND a.xact_start::text = $3
  AND ($4::text IS NULL OR a.backend_xid::text = $4)
