-- Constraints of tables and domains.
SELECT format('constraint %s %I type=%s valid=%s local=%s inherited=%s index=%s definition=%s comment=%L',
              CASE WHEN k.conrelid <> 0 THEN k.conrelid::regclass::text ELSE format_type(k.contypid, NULL) END,
              k.conname, k.contype, k.convalidated, k.conislocal, k.coninhcount,
              CASE WHEN k.conindid = 0 THEN '-' ELSE k.conindid::regclass::text END,
              pg_get_constraintdef(k.oid), obj_description(k.oid, 'pg_constraint'))
FROM pg_constraint k
JOIN pg_namespace n ON n.oid = k.connamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> ALL ($1)
