SELECT 'limit' AS measure, extract(epoch FROM pg_catalog.clock_timestamp())::text AS subject, NULL AS unknown,
       checkpoints_req AS value
FROM pg_catalog.pg_stat_bgwriter
