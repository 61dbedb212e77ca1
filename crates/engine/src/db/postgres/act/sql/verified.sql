        SELECT s.state, s.detail INTO verify_state, verify_detail
        FROM pontoon.step s WHERE s.run = '{run}' AND s.no = {verify};
        IF verify_state IS DISTINCT FROM 'done'
            OR (verify_detail ->> 'clean') IS DISTINCT FROM 'true'
        THEN
            RAISE EXCEPTION USING ERRCODE = 'PT412',
                MESSAGE = 'no clean verify pass of ' || root::pg_catalog.regclass::text || ' is recorded',
                HINT = 'Run `pontoon verify`.';
        END IF;
        -- The pass must have seen every leaf, to its end, and each must still
        -- be the storage that it saw, under the triggers that it saw: a
        -- rewrite, a new partition, one that went away, and triggers that
        -- were switched off for a while void it.
        WITH RECURSIVE tree AS (
            SELECT root AS oid
            UNION
            SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree ON i.inhparent = tree.oid
        ), leaf AS (
            SELECT c.oid AS relid, pg_catalog.pg_relation_filenode(c.oid) AS filenode, (
                SELECT coalesce(pg_catalog.string_agg(t.tgname || ' ' || t.xmin::text, ',' ORDER BY t.tgname), '')
                FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname ~ '^(!|~~)pontoon_'
            ) AS triggers
            FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid
            WHERE c.relkind = 'r'
        ), seen AS (
            SELECT r.relid, r.filenode, pg_catalog.bool_and(r.done) AS done,
                pg_catalog.max(r.detail ->> 'triggers') AS triggers
            FROM pontoon.range r
            WHERE r.run = '{run}' AND r.step = {verify} AND r.pass = (verify_detail ->> 'pass')::integer
            GROUP BY r.relid, r.filenode
        )
        SELECT pg_catalog.string_agg(coalesce(leaf.relid, seen.relid)::pg_catalog.regclass::text, ', ')
        INTO at_fault
        FROM leaf FULL JOIN seen ON seen.relid = leaf.relid AND seen.filenode = leaf.filenode
        WHERE leaf.relid IS NULL OR NOT coalesce(seen.done, false) OR leaf.triggers <> seen.triggers;
        IF at_fault IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'PT414',
                MESSAGE = 'the verify pass no longer holds: since then ' || at_fault || ' was rewritten, attached or detached, or its triggers were switched off',
                HINT = 'Run `pontoon verify` for a new pass, then run again.';
        END IF;
