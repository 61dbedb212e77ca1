-- With each range, which version of our triggers its table carries: whoever
-- switches a trigger off and on again leaves another one, and by that a sign
-- that rows may have been written behind its back. And how often writers had
-- lost a value by then, where they can.
INSERT INTO pontoon.range (run, step, pass, no, schema_name, table_name, relid, filenode, cursor_kind,
                           position, upper, done, pages_total, detail)
SELECT $1, $2, $3, no, schema_name, table_name, relid, filenode, cursor_kind,
       position, upper, done, pages_total,
       detail || pg_catalog.jsonb_build_object('triggers', (
           SELECT coalesce(pg_catalog.string_agg(t.tgname || ' ' || t.xmin::text, ',' ORDER BY t.tgname), '')
           FROM pg_catalog.pg_trigger t WHERE t.tgrelid = r.relid AND t.tgname ~ '^(!|~~)pontoon_'))
       || CASE WHEN $5 IS NULL THEN '{}'::jsonb ELSE pg_catalog.jsonb_build_object('losses', $5) END
FROM pg_catalog.jsonb_to_recordset($4) AS r (
    no integer, schema_name text, table_name text, relid oid, filenode oid, cursor_kind text,
    position text, upper text, done boolean, pages_total bigint, detail jsonb)
