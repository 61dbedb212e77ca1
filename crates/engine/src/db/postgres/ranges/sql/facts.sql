-- $1 a table, $2 the columns that are written.
SELECT
    -- An update of a column of such an index takes the stronger row lock
    -- (INDEX_ATTR_BITMAP_KEY in PostgreSQL's relcache.c).
    EXISTS (
        SELECT
        FROM pg_catalog.pg_index i
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid
             AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
        WHERE i.indrelid = $1 AND i.indisunique AND i.indimmediate
          AND i.indpred IS NULL AND i.indexprs IS NULL
          AND a.attname = ANY ($2)
    ) AS key_lock,
    -- What names a row to people: the primary key, or another key without
    -- NULLs.
    coalesce((
        SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.place)
        FROM (
            SELECT i.indrelid, i.indkey, i.indnkeyatts
            FROM pg_catalog.pg_index i
            WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
              AND NOT EXISTS (
                  SELECT FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
                    AND NOT a.attnotnull)
            ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid
            LIMIT 1
        ) i
        CROSS JOIN LATERAL pg_catalog.unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k (attnum, place)
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    ), '{}') AS names
