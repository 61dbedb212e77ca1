-- Columns, numbered by their place among the living ones: a dropped column leaves a hole that nobody can see.
-- The statistics target's default is -1 up to version 16 and NULL from 17 on.
SELECT format(
         'column %s #%s %I type=%s collation=%s not_null=%s default=%L identity=%s generated=%s storage=%s compression=%s '
         'statistics=%s options={%s} inherited=%s/%s comment=%L',
         a.attrelid::regclass,
         row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum),
         a.attname, format_type(a.atttypid, a.atttypmod),
         CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text ELSE '-' END,
         a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
         coalesce(nullif(a.attidentity::text, ''), '-'), coalesce(nullif(a.attgenerated::text, ''), '-'),
         a.attstorage, coalesce(nullif(a.attcompression::text, ''), '-'),
         coalesce(nullif(a.attstattarget, -1)::text, '-'),
         (SELECT string_agg(o, ', ' ORDER BY o) FROM unnest(a.attoptions || coalesce(a.attfdwoptions, '{}')) o),
         a.attislocal, a.attinhcount,
         col_description(a.attrelid, a.attnum))
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> ALL ($1)
