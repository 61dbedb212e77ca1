-- What is not as the plans have it. Nothing, at the end.
SELECT 'an event of ' || tableoid::regclass FROM events
WHERE source IS DISTINCT FROM payload ->> 'source' OR kind = 'buy'
   OR size IS DISTINCT FROM CASE WHEN (payload ->> 'n')::integer % 7 <> 0 THEN (payload ->> 'n')::integer % 5000 END
UNION ALL
SELECT 'events are missing: ' || count(*) FROM events HAVING count(*) <> 12000
UNION ALL
SELECT attrelid::regclass || '.' || attname FROM pg_attribute
WHERE attrelid::regclass::text LIKE 'events%' AND NOT attisdropped
  AND (attname = 'legacy_ref' OR attname = 'source' AND NOT attnotnull OR attname = 'size' AND atttypid <> 'bigint'::regtype)
  AND attrelid IN (SELECT oid FROM pg_class WHERE relkind IN ('r', 'p'))
UNION ALL
SELECT 'the check is not valid' WHERE (SELECT count(*) FROM pg_constraint WHERE conname = 'events_size_check' AND convalidated) <> 7;
