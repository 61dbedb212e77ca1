-- Answers the questions in the setting `pontoon.asked` (JSON) and leaves the
-- answers in `pontoon.answered`. Runs in a transaction that the caller rolls
-- back; search_path is `pg_catalog, <the plan's schema>, pg_temp`.
--
-- Each question is a block with an exception handler, that is a
-- subtransaction, and always ends with an exception: PN001 when it was
-- answered, the server's own otherwise. Everything it created is gone then,
-- while the variables keep their values.
DO $questions$
DECLARE
    asked CONSTANT jsonb := current_setting('pontoon.asked')::jsonb;
    view_tail CONSTANT text := E' AS pontoon_probe\n   FROM pontoon_row,\n    ( SELECT) pontoon_other;';
    -- Behind it comes a space, or a line of its own for an expression that has several.
    rule_head CONSTANT text := ' SET pontoon_probe =';
    rule_tail CONSTANT text := E'\n   FROM pontoon_row;';
    expressions jsonb := '[]';
    types jsonb := '[]';
    shape jsonb;
    question jsonb;
    broken jsonb;
    answer jsonb;
    text_asked text;
    target text;
    definition text;
    template text;
    tree text;
    type_name text;
    calls_volatile boolean;
    private_functions jsonb;
    volatility text;
    null_on_null boolean;
    error_code text;
    error_message text;
    error_hint text;
    -- A full disk, a lock, a server that goes down: these say nothing about
    -- the text that was asked about.
    not_of_the_plan CONSTANT text := '^(40|53|55P|57P|58)';
BEGIN
    FOR shape IN SELECT value FROM jsonb_array_elements(asked -> 'shapes') LOOP
        broken := NULL;
        BEGIN
            EXECUTE format('CREATE TEMPORARY TABLE pontoon_row (%s)', shape ->> 'columns');
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS error_code = RETURNED_SQLSTATE, error_message = MESSAGE_TEXT,
                error_hint = PG_EXCEPTION_HINT;
            IF error_code ~ not_of_the_plan THEN
                RAISE;
            END IF;
            broken := jsonb_build_object('code', error_code, 'message', error_message, 'hint', error_hint);
        END;
        FOR question IN SELECT value FROM jsonb_array_elements(shape -> 'questions') LOOP
            IF broken IS NOT NULL THEN
                expressions := expressions || jsonb_build_object('no', question -> 'no', 'error', broken);
                CONTINUE;
            END IF;
            text_asked := question ->> 'text';
            target := question ->> 'assigned_to';
            BEGIN
                -- A CHECK constraint takes what we take: no subquery, no
                -- aggregate, no window function, no set.
                EXECUTE format(E'ALTER TABLE pg_temp.pontoon_row ADD CONSTRAINT pontoon_check CHECK (((%s\n)) IS NOT NULL) NOT VALID',
                               text_asked);
                -- With a second relation beside it, every column is deparsed
                -- with the name of its own.
                IF target IS NULL THEN
                    EXECUTE format(E'CREATE TEMPORARY VIEW pontoon_view AS SELECT (%s\n) AS pontoon_probe '
                                   'FROM pg_temp.pontoon_row, (SELECT) AS pontoon_other', text_asked);
                ELSE
                    -- An assignment also gives bare literals and NULL the
                    -- column's type, and refuses what cannot be assigned.
                    EXECUTE format(E'CREATE TEMPORARY TABLE pontoon_target (pontoon_probe %s\n)', target);
                    CREATE TEMPORARY VIEW pontoon_holder AS SELECT 1 AS pontoon_probe;
                    EXECUTE format(E'CREATE RULE pontoon_rule AS ON INSERT TO pg_temp.pontoon_holder DO INSTEAD '
                                   'UPDATE pg_temp.pontoon_target SET pontoon_probe = (%s\n) FROM pg_temp.pontoon_row', text_asked);
                END IF;

                -- Literals were read with the settings of the session; the
                -- canonical text must not depend on them.
                PERFORM set_config('search_path', 'pg_catalog, pg_temp', true),
                        set_config('datestyle', 'ISO', true),
                        set_config('intervalstyle', 'postgres', true),
                        set_config('timezone', 'UTC', true),
                        set_config('extra_float_digits', '1', true),
                        set_config('bytea_output', 'hex', true),
                        set_config('quote_all_identifiers', 'off', true);
                IF target IS NULL THEN
                    definition := ltrim(pg_get_viewdef('pg_temp.pontoon_view'::regclass), ' ');
                    IF definition !~ '^SELECT\s' OR right(definition, length(view_tail)) <> view_tail THEN
                        RAISE EXCEPTION 'the server wrote an expression back in a form that Pontoon does not know: %',
                            definition USING ERRCODE = 'PT500';
                    END IF;
                    template := substr(definition, 8, length(definition) - 7 - length(view_tail));
                ELSE
                    target := (SELECT format_type(atttypid, atttypmod) FROM pg_attribute
                                WHERE attrelid = 'pg_temp.pontoon_target'::regclass AND attnum = 1);
                    definition := (SELECT pg_get_ruledef(oid) FROM pg_rewrite
                                    WHERE ev_class = 'pg_temp.pontoon_holder'::regclass AND rulename = 'pontoon_rule');
                    IF position(rule_head IN definition) = 0 OR right(definition, length(rule_tail)) <> rule_tail THEN
                        RAISE EXCEPTION 'the server wrote an expression back in a form that Pontoon does not know: %',
                            definition USING ERRCODE = 'PT500';
                    END IF;
                    template := substr(definition, position(rule_head IN definition) + length(rule_head));
                    template := ltrim(left(template, length(template) - length(rule_tail)), E' \n');
                    EXECUTE format('CREATE TEMPORARY VIEW pontoon_view AS SELECT %s AS pontoon_probe '
                                   'FROM pg_temp.pontoon_row, (SELECT) AS pontoon_other', template);
                END IF;
                type_name := (SELECT format_type(atttypid, atttypmod) FROM pg_attribute
                               WHERE attrelid = 'pg_temp.pontoon_view'::regclass AND attnum = 1);

                -- What runs is the expression and the cast into its column.
                definition := CASE WHEN target IS NULL THEN template
                                   ELSE format('CAST((%s) AS %s)', template, target) END;
                EXECUTE format('ALTER TABLE pg_temp.pontoon_row ADD CONSTRAINT pontoon_cast CHECK ((%s) IS NOT NULL) NOT VALID',
                               definition);
                tree := (SELECT conbin::text FROM pg_constraint
                          WHERE conrelid = 'pg_temp.pontoon_row'::regclass AND conname = 'pontoon_cast');
                SELECT coalesce(bool_or(p.provolatile = 'v'), false),
                       coalesce(jsonb_agg(p.oid::regprocedure::text ORDER BY p.oid::regprocedure::text COLLATE "C")
                                FILTER (WHERE NOT has_function_privilege('public', p.oid, 'EXECUTE')), '[]')
                  INTO calls_volatile, private_functions
                  FROM (SELECT DISTINCT f.found[1]::oid AS oid
                          FROM regexp_matches(tree, ':(?:op)?funcid (\d+) ', 'g') AS f (found)) AS used
                  JOIN pg_proc p ON p.oid = used.oid;
                IF calls_volatile OR tree ~ '\{NEXTVALUEEXPR ' THEN
                    volatility := 'volatile';
                ELSE
                    -- The predicate of an index must be immutable, for any
                    -- type: this also judges conversions through text, which
                    -- name no function.
                    BEGIN
                        EXECUTE format('CREATE INDEX pontoon_index ON pg_temp.pontoon_row ((1)) WHERE (%s) IS NOT NULL',
                                       definition);
                        volatility := 'immutable';
                    EXCEPTION WHEN invalid_object_definition THEN
                        volatility := 'stable';
                    END;
                END IF;

                null_on_null := NULL;
                IF volatility <> 'volatile' THEN
                    BEGIN
                        EXECUTE format('SELECT (%s) IS NOT DISTINCT FROM NULL '
                                       'FROM (SELECT 1) AS one LEFT JOIN pg_temp.pontoon_row ON false', template)
                           INTO null_on_null;
                    EXCEPTION WHEN OTHERS THEN
                        IF SQLSTATE ~ not_of_the_plan THEN
                            RAISE;
                        END IF;
                        null_on_null := NULL;
                    END;
                END IF;
                RAISE EXCEPTION 'answered' USING ERRCODE = 'PN001';
            EXCEPTION
                WHEN SQLSTATE 'PN001' THEN
                    answer := jsonb_build_object(
                        'no', question -> 'no', 'template', template, 'type_name', type_name,
                        'volatility', volatility, 'null_on_null', null_on_null,
                        'private_functions', private_functions);
                WHEN OTHERS THEN
                    GET STACKED DIAGNOSTICS error_code = RETURNED_SQLSTATE, error_message = MESSAGE_TEXT,
                        error_hint = PG_EXCEPTION_HINT;
                    IF error_code ~ not_of_the_plan THEN
                        RAISE;
                    END IF;
                    answer := jsonb_build_object('no', question -> 'no', 'error',
                        jsonb_build_object('code', error_code, 'message', error_message, 'hint', error_hint));
            END;
            expressions := expressions || answer;
        END LOOP;
        DROP TABLE IF EXISTS pg_temp.pontoon_row;
    END LOOP;

    FOR question IN SELECT value FROM jsonb_array_elements(asked -> 'types') LOOP
        BEGIN
            EXECUTE format(E'CREATE TEMPORARY VIEW pontoon_view AS SELECT CAST(NULL AS %s\n) AS pontoon_probe',
                           question ->> 'text');
            PERFORM set_config('search_path', 'pg_catalog, pg_temp', true),
                    set_config('quote_all_identifiers', 'off', true);
            WITH RECURSIVE layer AS (
                SELECT t.oid, t.typtype, t.typnotnull, t.typbasetype
                  FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
                 WHERE a.attrelid = 'pg_temp.pontoon_view'::regclass AND a.attnum = 1
                UNION ALL
                SELECT t.oid, t.typtype, t.typnotnull, t.typbasetype
                  FROM layer JOIN pg_type t ON t.oid = layer.typbasetype AND layer.typtype = 'd'
            )
            SELECT jsonb_build_object(
                       'no', question -> 'no',
                       'name', format_type(a.atttypid, a.atttypmod),
                       'base', format_type(a.atttypid, -1),
                       'storage', (SELECT t.typstorage FROM pg_type t WHERE t.oid = a.atttypid),
                       'constrained_domain', EXISTS (
                           SELECT FROM layer
                            WHERE layer.typtype = 'd'
                              AND (layer.typnotnull OR EXISTS (
                                  SELECT FROM pg_constraint k WHERE k.contypid = layer.oid))))
              INTO answer
              FROM pg_attribute a
             WHERE a.attrelid = 'pg_temp.pontoon_view'::regclass AND a.attnum = 1;
            RAISE EXCEPTION 'answered' USING ERRCODE = 'PN001';
        EXCEPTION
            WHEN SQLSTATE 'PN001' THEN
                NULL;
            WHEN OTHERS THEN
                GET STACKED DIAGNOSTICS error_code = RETURNED_SQLSTATE, error_message = MESSAGE_TEXT,
                    error_hint = PG_EXCEPTION_HINT;
                IF error_code ~ not_of_the_plan THEN
                    RAISE;
                END IF;
                answer := jsonb_build_object('no', question -> 'no', 'error',
                    jsonb_build_object('code', error_code, 'message', error_message, 'hint', error_hint));
        END;
        types := types || answer;
    END LOOP;

    PERFORM set_config('pontoon.answered',
                       jsonb_build_object('expressions', expressions, 'types', types)::text, true);
END
$questions$
