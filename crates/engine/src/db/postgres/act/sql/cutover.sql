    -- The dual write of {table} ends here: is what it kept still proven?
    DECLARE
        root CONSTANT oid := {table}::pg_catalog.regclass;
        verify_state text;
        verify_detail jsonb;
        at_fault text;
    BEGIN
        -- Every table of the tree must have carried the triggers all the time.
        WITH RECURSIVE tree AS (
            SELECT root AS oid
            UNION
            SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent = tree.oid
        )
        SELECT pg_catalog.string_agg(DISTINCT c.oid::pg_catalog.regclass::text, ', ') INTO at_fault
        FROM tree
        JOIN pg_catalog.pg_class c ON c.oid = tree.oid AND c.relkind IN ('r', 'p')
        CROSS JOIN pg_catalog.unnest({triggers}) AS wanted (name)
        LEFT JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid AND t.tgname = wanted.name
        WHERE t.tgenabled IS DISTINCT FROM 'A';
        IF at_fault IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'PT412',
                MESSAGE = 'the dual-write triggers are missing or not enabled on ' || at_fault,
                HINT = 'Writes may have been missed. Roll back, or restore the triggers and verify again.';
        END IF;
{verified}
    END;
