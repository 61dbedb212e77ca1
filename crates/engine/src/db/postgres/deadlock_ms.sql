(SELECT pg_catalog.ceil(pg_catalog.min(ms))::integer
 FROM (
     SELECT extract(epoch FROM pg_catalog.current_setting('deadlock_timeout')::interval) * 1000 AS ms
     UNION ALL
     SELECT CASE WHEN value ~ '^[0-9]+$' THEN value::numeric
                 ELSE extract(epoch FROM value::interval) * 1000 END
     FROM pg_catalog.pg_db_role_setting s
     CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS config
     CROSS JOIN LATERAL pg_catalog.split_part(config, '=', 2) AS value
     WHERE config LIKE 'deadlock_timeout=%'
       AND s.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database d
                                 WHERE d.datname = pg_catalog.current_database()))
 ) AS every_role)