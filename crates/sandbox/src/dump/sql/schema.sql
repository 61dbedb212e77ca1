-- Schemas: owner, rights, comment.
SELECT format('schema %I owner=%s comment=%L', n.nspname, pg_get_userbyid(n.nspowner), obj_description(n.oid, 'pg_namespace'))
FROM pg_namespace n
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> ALL ($1)
