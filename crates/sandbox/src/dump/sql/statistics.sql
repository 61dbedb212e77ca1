-- Extended statistics.
SELECT format('statistics %s owner=%s target=%s definition=%s comment=%L', quote_ident(n.nspname) || '.' || quote_ident(s.stxname), pg_get_userbyid(s.stxowner),
              coalesce(nullif(s.stxstattarget, -1)::text, '-'), pg_get_statisticsobjdef(s.oid),
              obj_description(s.oid, 'pg_statistic_ext'))
FROM pg_statistic_ext s
JOIN pg_namespace n ON n.oid = s.stxnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> ALL ($1)
