-- Views are rules too: their definitions come from here.
SELECT format('rule %s %I enabled=%s definition=%s comment=%L', r.ev_class::regclass, r.rulename, r.ev_enabled,
              CASE WHEN r.rulename = '_RETURN' THEN pg_get_viewdef(r.ev_class) ELSE pg_get_ruledef(r.oid) END,
              obj_description(r.oid, 'pg_rewrite'))
FROM pg_rewrite r
JOIN pg_class c ON c.oid = r.ev_class
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> ALL ($1)
