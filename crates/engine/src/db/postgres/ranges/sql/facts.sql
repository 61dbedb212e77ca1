-- $1 a table, $2 the columns that are written.
SELECT
    {deadlock_ms} AS deadlock_ms,
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
    -- A BEFORE ROW trigger of UPDATE may change what is written (bits 0, 1
    -- and 4 of tgtype).
    EXISTS (
        SELECT
        FROM pg_catalog.pg_trigger tg
        WHERE tg.tgrelid = $1 AND tg.tgtype & 19 = 19 AND tg.tgenabled <> 'D'
    ) AS changing_triggers,
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
    ), '{}') AS names,
    -- A standby that does not tell which row versions its queries still need:
    -- replaying the reuse of their space stalls it or cancels them. What we
    -- may not see counts as such a standby.
    EXISTS (
        SELECT
        FROM pg_catalog.pg_stat_replication r
        LEFT JOIN pg_catalog.pg_replication_slots s ON s.active_pid = r.pid
        WHERE s.slot_type IS DISTINCT FROM 'logical'
          AND (r.state IS NULL AND r.application_name <> 'pg_basebackup'
               OR r.state IN ('streaming', 'catchup') AND r.replay_lsn IS NOT NULL)
          AND r.backend_xmin IS NULL AND s.xmin IS NULL
    ) AS conflicts
