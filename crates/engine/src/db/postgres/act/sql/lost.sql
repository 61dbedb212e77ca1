        -- Nor may a value have been lost since it began, or a transaction that
        -- had lost one have been in progress then.
        IF EXISTS (
            SELECT FROM pontoon.range r
            WHERE r.run = '{run}' AND r.step = {verify} AND r.pass = (verify_detail ->> 'pass')::integer
              AND (r.detail ->> 'losses') IS DISTINCT FROM
                  coalesce(pg_catalog.pg_sequence_last_value({sequence}::pg_catalog.regclass), 0)::text
        ) THEN
            RAISE EXCEPTION USING ERRCODE = 'PT414',
                MESSAGE = 'the verify pass no longer holds: since it began, ' || root::pg_catalog.regclass::text || ' was given ' || {given},
                HINT = {hint};
        END IF;
