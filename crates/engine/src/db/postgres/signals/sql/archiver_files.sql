SELECT 'limit' AS measure, NULL AS subject, NULL AS unknown,
       pg_catalog.count(*) FILTER (WHERE f.name ~ '^[0-9A-F]{24}\.ready$') AS value
FROM pg_catalog.pg_ls_archive_statusdir() AS f
