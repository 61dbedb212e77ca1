DECLARE
    lost text;
    given record;
BEGIN
    SELECT pg_catalog.string_agg(found.what, ', ' ORDER BY found.what) INTO lost
    FROM (
        SELECT pg_catalog.concat('trigger ', tgname) FROM pg_catalog.pg_trigger
        WHERE tgrelid = {view}::pg_catalog.regclass AND NOT tgisinternal
          AND NOT pg_catalog.starts_with(tgname, 'pontoon_')
        UNION ALL
        SELECT pg_catalog.concat('rule ', rulename) FROM pg_catalog.pg_rewrite
        WHERE ev_class = {view}::pg_catalog.regclass AND rulename <> '_RETURN'
        UNION ALL
        SELECT pg_catalog.concat('a default of column ', a.attname)
        FROM pg_catalog.pg_attrdef d
        JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
        WHERE d.adrelid = {view}::pg_catalog.regclass
          AND NOT EXISTS (
              SELECT FROM pg_catalog.pg_attrdef same
              JOIN pg_catalog.pg_attribute b ON b.attrelid = same.adrelid AND b.attnum = same.adnum
              WHERE same.adrelid = {table}::pg_catalog.regclass AND b.attname = a.attname
                AND pg_catalog.pg_get_expr(same.adbin, same.adrelid) = pg_catalog.pg_get_expr(d.adbin, d.adrelid))
        UNION ALL
        SELECT CASE objsubid WHEN 0 THEN 'a comment' ELSE 'a comment on a column' END
        FROM pg_catalog.pg_description
        WHERE objoid = {view}::pg_catalog.regclass AND classoid = 'pg_catalog.pg_class'::pg_catalog.regclass
    ) AS found (what);
    IF lost IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'PT412',
            MESSAGE = pg_catalog.concat({view}, ', a view until contract, has been given ', lost),
            HINT = 'It would be lost with the view. Take it off, and give it to the table of that name after contract.';
    END IF;
    FOR given IN
        WITH granted AS (
            SELECT c.oid, NULL::name AS of_column, g.grantee, g.privilege_type, g.is_grantable
            FROM pg_catalog.pg_class c, pg_catalog.aclexplode(c.relacl) g
            WHERE c.oid IN ({view}::pg_catalog.regclass, {table}::pg_catalog.regclass) AND g.grantee <> c.relowner
            UNION ALL
            SELECT c.oid, a.attname, g.grantee, g.privilege_type, g.is_grantable
            FROM pg_catalog.pg_class c
            JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped,
            pg_catalog.aclexplode(a.attacl) g
            WHERE c.oid IN ({view}::pg_catalog.regclass, {table}::pg_catalog.regclass) AND g.grantee <> c.relowner
        )
        SELECT of_column, grantee, privilege_type, is_grantable FROM granted
        WHERE oid = {view}::pg_catalog.regclass
        EXCEPT
        SELECT of_column, grantee, privilege_type, is_grantable FROM granted
        WHERE oid = {table}::pg_catalog.regclass
    LOOP
        EXECUTE pg_catalog.concat(
            'GRANT ', given.privilege_type,
            CASE WHEN given.of_column IS NOT NULL THEN pg_catalog.concat(' (', pg_catalog.quote_ident(given.of_column), ')') END,
            ' ON ', {table}, ' TO ',
            CASE given.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(given.grantee)) END,
            CASE WHEN given.is_grantable THEN ' WITH GRANT OPTION' END);
    END LOOP;
END
