-- What earlier builds of this step left on the table ($1, $2): indexes whose
-- names begin with $3.
SELECT c.relname::text AS name,
       i.indisvalid AND i.indisready AND i.indislive AS valid
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
WHERE n.nspname = $1 AND t.relname = $2
  AND pg_catalog.starts_with(c.relname::text, $3)
ORDER BY i.indisvalid DESC, c.relname
