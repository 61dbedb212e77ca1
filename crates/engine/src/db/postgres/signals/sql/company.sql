-- What may be seen of a session without pg_read_all_stats is its role and its
-- application_name; its state is hidden then. Where one is hidden and none of
-- the others is at work, nothing is known.
SELECT pg_catalog.count(*) FILTER (WHERE o.at_work) AS sessions,
       coalesce(pg_catalog.bool_or(o.hidden), false)
         AND pg_catalog.count(*) FILTER (WHERE o.at_work) = 0 AS hidden
FROM (
    SELECT a.query = '<insufficient privilege>' AS hidden,
           a.state = 'active'
             OR a.state_change > pg_catalog.clock_timestamp() - INTERVAL '2 seconds' AS at_work
    FROM pg_catalog.pg_stat_activity a
    WHERE a.datid IS NOT NULL AND a.usesysid IS NOT NULL
      AND coalesce(a.backend_type, 'client backend') = 'client backend'
      AND a.pid <> pg_catalog.pg_backend_pid()
      AND pg_catalog.split_part(a.application_name, '/', -1) <> ALL (:ours)
) AS o
