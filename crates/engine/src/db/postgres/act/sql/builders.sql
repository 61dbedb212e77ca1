-- Sessions that still build an index of this step ($1: how its quoted names
-- begin), or drop or reindex the index $3: their client is dead, the server does not know.
-- Our own role's queries are always visible.
SELECT a.pid, a.application_name, a.xact_start::text AS xact_start
FROM pg_catalog.pg_stat_activity a
WHERE a.datname = pg_catalog.current_database()
  AND a.usename = current_user
  AND a.state = 'active'
  AND a.pid <> ALL ($2)
  AND (pg_catalog.starts_with(a.query, 'CREATE ') AND pg_catalog.strpos(a.query, $1) > 0
       OR pg_catalog.starts_with(a.query, 'REINDEX ') AND pg_catalog.strpos(a.query, $3) > 0
       OR pg_catalog.starts_with(a.query, 'DROP INDEX ')
          AND (pg_catalog.strpos(a.query, $1) > 0 OR pg_catalog.strpos(a.query, $3) > 0))
