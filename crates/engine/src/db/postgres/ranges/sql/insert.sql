INSERT INTO pontoon.range (run, step, pass, no, schema_name, table_name, relid, filenode, cursor_kind,
                           position, upper, done, pages_total, detail)
SELECT $1, $2, $3, no, schema_name, table_name, relid, filenode, cursor_kind,
       position, upper, done, pages_total, detail
FROM pg_catalog.jsonb_to_recordset($4) AS r (
    no integer, schema_name text, table_name text, relid oid, filenode oid, cursor_kind text,
    position text, upper text, done boolean, pages_total bigint, detail jsonb)
