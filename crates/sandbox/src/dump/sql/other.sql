-- What belongs to the database rather than to a schema.
SELECT format('extension %I version=%s schema=%s owner=%s', e.extname, e.extversion, e.extnamespace::regnamespace,
              pg_get_userbyid(e.extowner))
FROM pg_extension e
UNION ALL
SELECT format('event trigger %I on %s calls %s enabled=%s owner=%s tags={%s}', t.evtname, t.evtevent, t.evtfoid::regproc,
              t.evtenabled, pg_get_userbyid(t.evtowner), array_to_string(t.evttags, ', '))
FROM pg_event_trigger t
UNION ALL
SELECT format('setting of role %s in %s: %s', CASE s.setrole WHEN 0 THEN '(all)' ELSE pg_get_userbyid(s.setrole) END,
              CASE s.setdatabase WHEN 0 THEN '(all databases)' ELSE '(this database)' END, c)
FROM pg_db_role_setting s, unnest(s.setconfig) c
WHERE s.setdatabase = 0 OR s.setdatabase = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
UNION ALL
SELECT format('database owner=%s comment=%L', pg_get_userbyid(d.datdba), shobj_description(d.oid, 'pg_database'))
FROM pg_database d WHERE d.datname = current_database()
UNION ALL
SELECT format('security label on %s: %s = %L', l.objname, l.provider, l.label)
FROM pg_seclabels l
WHERE $1::text[] IS NOT NULL
