-- The relation of that name ($1, $2), and whether it is an index of the table ($3, $4).
SELECT c.relkind::text AS relkind,
       i.indisvalid AND i.indisready AND i.indislive AS valid,
       coalesce(t.relname = $4 AND tn.nspname = $3, false) AS of_table
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
LEFT JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
WHERE n.nspname = $1 AND c.relname = $2
