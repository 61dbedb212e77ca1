-- Functions, procedures and aggregates.
SELECT format('function %s kind=%s owner=%s definition=%L comment=%L', p.oid::regprocedure, p.prokind, pg_get_userbyid(p.proowner),
              CASE WHEN p.prokind = 'a' THEN (SELECT format('%s %s %s', a.aggtransfn, a.aggfinalfn, a.agginitval)
                                              FROM pg_aggregate a WHERE a.aggfnoid = p.oid)
                   ELSE pg_get_functiondef(p.oid) END,
              obj_description(p.oid, 'pg_proc'))
FROM pg_proc p
JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> ALL ($1)
