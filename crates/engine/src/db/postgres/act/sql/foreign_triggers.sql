    -- Our triggers see a row first and last only while their names sort so; and
    -- there are none behind the application's where it had none.
    DECLARE
        at_fault text;
    BEGIN
        WITH RECURSIVE tree AS (
            SELECT {table}::pg_catalog.regclass::oid AS oid
            UNION
            SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent = tree.oid
        )
        SELECT pg_catalog.string_agg(
            pg_catalog.format('%s on %s', pg_catalog.quote_ident(t.tgname), t.tgrelid::pg_catalog.regclass), ', ')
        INTO at_fault
        FROM tree
        JOIN pg_catalog.pg_trigger t ON t.tgrelid = tree.oid
        WHERE NOT t.tgisinternal
          -- FOR EACH ROW and BEFORE, INSERT or UPDATE.
          AND t.tgtype & 3 = 3 AND t.tgtype & 20 <> 0
          AND t.tgname <> ALL ({triggers})
          AND ({alone} OR NOT t.tgname::text COLLATE "C" BETWEEN {first} AND {last});
        IF at_fault IS NOT NULL AND {alone} THEN
            RAISE EXCEPTION USING ERRCODE = 'PT412',
                MESSAGE = 'BEFORE ROW triggers have come since the program was made: ' || at_fault,
                HINT = 'What they change, the dual write would not see. Drop them until the run is over, or roll back and run the plan again: it then reckons with them.';
        ELSIF at_fault IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'PT412',
                MESSAGE = 'BEFORE ROW triggers would fire outside the dual write''s: ' || at_fault,
                HINT = 'Rename them so that they sort between ! and ~~ by bytes: ALTER TRIGGER … RENAME TO ….';
        END IF;
    END;
