-- The best key to go along, and what the choice of the cursor depends on.
-- $1 a table. Only keys whose order is the columns' own order are of use:
-- ascending, default operator class, the column's collation, and that one
-- deterministic.
SELECT
    (SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.place)
     FROM pg_catalog.unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k (attnum, place)
     JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum) AS columns,
    (SELECT pg_catalog.array_agg(pg_catalog.format_type(a.atttypid, -1) ORDER BY k.place)
     FROM pg_catalog.unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k (attnum, place)
     JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum) AS types,
    -- How far the key's order follows the order on disk: 1 or -1 for a
    -- sequence, near 0 for random keys; NULL before the first ANALYZE.
    (SELECT s.correlation::double precision
     FROM pg_catalog.pg_stats s
     JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
     JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname AND NOT s.inherited) AS correlation,
    pg_catalog.pg_relation_size(i.indexrelid) AS index_bytes,
    pg_catalog.pg_indexes_size(i.indrelid) AS indexes_bytes,
    pg_catalog.pg_relation_size(i.indrelid) AS heap_bytes,
    pg_catalog.pg_size_bytes(pg_catalog.current_setting('effective_cache_size')) AS cache_bytes
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid
JOIN pg_catalog.pg_am am ON am.oid = ic.relam
WHERE i.indrelid = $1 AND am.amname = 'btree'
  AND i.indisunique AND i.indisvalid AND i.indimmediate
  AND i.indpred IS NULL AND i.indexprs IS NULL
  AND NOT EXISTS (
      SELECT
      FROM pg_catalog.generate_series(0, i.indnkeyatts - 1) AS k (at)
      JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.at]
      JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[k.at]
      LEFT JOIN pg_catalog.pg_collation co ON co.oid = i.indcollation[k.at]
      WHERE NOT a.attnotnull OR i.indoption[k.at] <> 0 OR NOT o.opcdefault
         OR i.indcollation[k.at] <> a.attcollation OR NOT coalesce(co.collisdeterministic, true))
ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid
LIMIT 1
