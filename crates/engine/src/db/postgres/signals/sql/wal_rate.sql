SELECT 'limit' AS measure, extract(epoch FROM pg_catalog.clock_timestamp())::text AS subject, NULL AS unknown,
       pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0') AS value
