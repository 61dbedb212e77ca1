-- What a broken-off REINDEX CONCURRENTLY of the index $3 left on its table ($1,
-- $2): INVALID indexes of its name with a suffix of the server's. A name that
-- is too long for the suffix was cut before it. While somebody reindexes the
-- table, one of them may be his.
SELECT c.relname::text
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
CROSS JOIN LATERAL (
    SELECT pg_catalog.regexp_replace(c.relname::text, '_cc(new|old)[0-9]*$', '')
) AS without (suffix)
WHERE n.nspname = $1 AND t.relname = $2
  AND NOT i.indisvalid
  AND without.suffix <> c.relname::text AND without.suffix <> ''
  AND (without.suffix = $3
       OR pg_catalog.starts_with($3, without.suffix) AND pg_catalog.octet_length(c.relname::text) >= 60)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p
                  WHERE p.relid = t.oid AND p.command = 'REINDEX CONCURRENTLY')
ORDER BY c.relname
