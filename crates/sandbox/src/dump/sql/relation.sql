-- Tables, views, sequences, composite types and foreign tables: everything that belongs to the relation as a whole.
-- Options of the TOAST table count as the table's.
SELECT format(
         'relation %s kind=%s owner=%s persistence=%s method=%s tablespace=%s options={%s} toast_options={%s} identity=%s '
         'row_security=%s force=%s populated=%s of_type=%s parents={%s} bound=%L partition_key=%L comment=%L',
         c.oid::regclass, c.relkind, pg_get_userbyid(c.relowner), c.relpersistence, coalesce(am.amname, '-'),
         coalesce(ts.spcname, '-'),
         (SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(c.reloptions) o),
         (SELECT string_agg(o, ', ' ORDER BY o) FROM pg_class t, unnest(t.reloptions) o WHERE t.oid = c.reltoastrelid),
         c.relreplident, c.relrowsecurity, c.relforcerowsecurity, c.relispopulated,
         CASE WHEN c.reloftype = 0 THEN '-' ELSE format_type(c.reloftype, NULL) END,
         (SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno) FROM pg_inherits i WHERE i.inhrelid = c.oid),
         pg_get_expr(c.relpartbound, c.oid),
         CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END,
         obj_description(c.oid, 'pg_class'))
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_am am ON am.oid = c.relam
LEFT JOIN pg_tablespace ts ON ts.oid = c.reltablespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> ALL ($1)
