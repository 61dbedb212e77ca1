-- Enums, domains and ranges. Composite types are relations.
SELECT format('type %s kind=%s owner=%s base=%s not_null=%s default=%L labels={%s} range_of=%s comment=%L',
              format_type(t.oid, NULL), t.typtype, pg_get_userbyid(t.typowner),
              CASE WHEN t.typbasetype = 0 THEN '-' ELSE format_type(t.typbasetype, t.typtypmod) END,
              t.typnotnull, t.typdefault,
              (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
              coalesce((SELECT format_type(r.rngsubtype, NULL) FROM pg_range r WHERE r.rngtypid = t.oid), '-'),
              obj_description(t.oid, 'pg_type'))
FROM pg_type t
JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.typtype IN ('e', 'd', 'r', 'm')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND n.nspname <> ALL ($1)
