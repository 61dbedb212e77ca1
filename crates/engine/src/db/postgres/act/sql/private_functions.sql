    -- WHEN is evaluated as the writer, who may lack EXECUTE on what it calls.
    -- The plan knew; the rights may have changed since.
    DECLARE
        at_fault text;
    BEGIN
        SELECT pg_catalog.string_agg(DISTINCT p.oid::pg_catalog.regprocedure::text, ', ')
        INTO at_fault
        FROM pg_catalog.pg_trigger t
        JOIN pg_catalog.pg_depend d
          ON d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND d.objid = t.oid
        LEFT JOIN pg_catalog.pg_operator o
          ON d.refclassid = 'pg_catalog.pg_operator'::pg_catalog.regclass AND o.oid = d.refobjid
        JOIN pg_catalog.pg_proc p
          ON p.oid = CASE WHEN d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                          THEN d.refobjid ELSE o.oprcode END
        WHERE t.tgname = ANY ({triggers})
          AND p.oid <> t.tgfoid
          AND NOT pg_catalog.has_function_privilege('public', p.oid, 'EXECUTE');
        IF at_fault IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'PT412',
                MESSAGE = 'a condition of the dual write calls what PUBLIC may not execute: ' || at_fault,
                HINT = 'GRANT EXECUTE on it TO PUBLIC, or plan again: writers would fail.';
        END IF;
    END;
