-- Triggers. The names of a foreign key's own triggers contain numbers, so these go by their constraint and function.
SELECT CASE WHEN t.tgisinternal
         THEN format('internal trigger %s of constraint %I calls %s enabled=%s', t.tgrelid::regclass, k.conname,
                     t.tgfoid::regproc, t.tgenabled)
         ELSE format('trigger %s %I enabled=%s parent=%s definition=%s comment=%L', t.tgrelid::regclass, t.tgname, t.tgenabled,
                     t.tgparentid <> 0, pg_get_triggerdef(t.oid), obj_description(t.oid, 'pg_trigger'))
       END
FROM pg_trigger t
JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_constraint k ON k.oid = t.tgconstraint
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> ALL ($1)
