SELECT 'limit' AS measure, extract(epoch FROM pg_catalog.clock_timestamp())::text AS subject, NULL AS unknown,
       num_requested AS value
FROM pg_catalog.pg_stat_checkpointer
