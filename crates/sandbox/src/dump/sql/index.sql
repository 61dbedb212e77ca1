-- Indexes. A column's statistics target belongs to expression indexes.
SELECT format('index %s on %s owner=%s valid=%s ready=%s live=%s clustered=%s identity=%s parent=%s tablespace=%s statistics={%s} '
              'definition=%s comment=%L',
              i.indexrelid::regclass, i.indrelid::regclass, pg_get_userbyid(c.relowner), i.indisvalid, i.indisready, i.indislive,
              i.indisclustered, i.indisreplident,
              coalesce((SELECT h.inhparent::regclass::text FROM pg_inherits h WHERE h.inhrelid = i.indexrelid), '-'),
              coalesce(ts.spcname, '-'),
              (SELECT string_agg(a.attnum || ':' || a.attstattarget, ', ' ORDER BY a.attnum)
               FROM pg_attribute a WHERE a.attrelid = i.indexrelid AND a.attstattarget >= 0),
              pg_get_indexdef(i.indexrelid), obj_description(i.indexrelid, 'pg_class'))
FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_tablespace ts ON ts.oid = c.reltablespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> ALL ($1)
