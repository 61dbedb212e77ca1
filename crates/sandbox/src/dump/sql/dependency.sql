-- Every dependency among objects made after initdb, described in words. This finds what the other queries do not know of.
-- Numbers in the names of TOAST tables and of a foreign key's triggers are left out.
WITH edge AS (
  SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS object,
         pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid) AS needs, d.deptype
  FROM pg_depend d
  WHERE d.objid >= 16384
)
SELECT regexp_replace(format('dependency of %s on %s (%s)', object, needs, deptype),
                      '(pg_toast_|RI_ConstraintTrigger_[ac]_)[0-9]+', '\1N', 'g')
FROM edge
WHERE object IS NOT NULL AND needs IS NOT NULL
  AND NOT EXISTS (
    SELECT FROM unnest($1::text[]) hidden (name)
    WHERE object || ' ' || needs ~ ('(^|[ (])"?' || regexp_replace(hidden.name, '([^[:alnum:]_])', '\\\1', 'g') || '"?\.')
       OR object = 'schema ' || quote_ident(hidden.name) OR needs = 'schema ' || quote_ident(hidden.name))
