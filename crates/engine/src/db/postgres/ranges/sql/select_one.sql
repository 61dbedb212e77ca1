SELECT no, schema_name, table_name, relid, filenode, cursor_kind, position, upper, done,
       rows, pages_done, pages_total, detail, owner
FROM pontoon.range
WHERE run = $1 AND step = $2 AND pass = $3 AND no = $4
