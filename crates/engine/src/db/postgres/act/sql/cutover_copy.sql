    -- {table} takes the place of columns: does it hold them, and nothing else?
    DECLARE
        root CONSTANT oid := {table}::pg_catalog.regclass;
        verify_state text;
        verify_detail jsonb;
        at_fault text;
    BEGIN
{verified}
    END;
