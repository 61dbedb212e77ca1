-- Every dependency among objects made after initdb, described in words. This finds what the other queries do not know of.
-- What belongs to TOAST tables is left out (which has one is storage, and a table keeps it when the column that
-- wanted it is dropped), and so are the numbers in the names of a foreign key's triggers.
WITH edge AS (
  SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS object,
         pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid) AS needs, d.deptype
  FROM pg_depend d
  WHERE d.objid >= 16384
    -- What a session has kept for itself goes when the session does, not when its client is told.
    AND NOT EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                    WHERE d.classid = 'pg_proc'::regclass AND p.oid = d.objid AND n.nspname ~ '^pg_temp_')
)
SELECT regexp_replace(format('dependency of %s on %s (%s)', object, needs, deptype),
                      '(pg_toast_|RI_ConstraintTrigger_[ac]_)[0-9]+', '\1N', 'g')
FROM edge
WHERE object IS NOT NULL AND needs IS NOT NULL
  AND object NOT LIKE '%pg_toast.%'
  AND NOT EXISTS (
    SELECT FROM unnest($1::text[]) hidden (name)
    WHERE object || ' ' || needs ~ ('(^|[ (])"?' || regexp_replace(hidden.name, '([^[:alnum:]_])', '\\\1', 'g') || '"?\.')
       OR object = 'schema ' || quote_ident(hidden.name) OR needs = 'schema ' || quote_ident(hidden.name))
