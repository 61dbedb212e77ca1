-- Pontoon's own schema, version 1.
--
-- Everything that Pontoon remembers lives here, so that a run survives the
-- death of the process that performs it. Nothing here is read or written by
-- an application: the dual-write triggers run as the owner of this schema
-- (SECURITY DEFINER), so an application role needs no right on it.
--
-- Running this twice changes nothing.

-- (CREATE SCHEMA IF NOT EXISTS would demand CREATE on the database even when
-- a DBA has made the schema already.)
DO $body$
BEGIN
    IF pg_catalog.to_regnamespace('pontoon') IS NULL THEN
        CREATE SCHEMA pontoon;
    END IF;
END
$body$;

-- A new schema is closed to others already; this also closes one that was
-- opened by hand.
REVOKE ALL ON SCHEMA pontoon FROM PUBLIC;

COMMENT ON SCHEMA pontoon IS
    'State and dual-write functions of Pontoon. Do not drop while `pontoon status` shows an unfinished run.';

-- One row: which version of this schema stands here.
CREATE TABLE IF NOT EXISTS pontoon.meta (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version     integer NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    upgraded_at timestamptz
);

-- One execution of one plan.
CREATE TABLE IF NOT EXISTS pontoon.run (
    id              uuid PRIMARY KEY,
    plan            text NOT NULL,
    version         text NOT NULL,
    issue           text,
    -- What the run was made of: operations, hashes, program; see `wire` in it.
    definition      jsonb NOT NULL,
    -- Limits, throttle and gates: these may change between sittings.
    settings        jsonb NOT NULL,
    state           text NOT NULL,
    phase           text NOT NULL,
    gate            text,
    reason          text,
    error           jsonb,
    -- Who asked for a pause; NULL when nobody did.
    pause_requested text,
    -- Rows changed by committed batches. A batch adds to it as its last
    -- statement, in its own transaction.
    rows_affected   bigint NOT NULL DEFAULT 0,
    started_at      timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    finished_at     timestamptz
);

-- A plan has at most one unfinished run: this index, not a look beforehand,
-- decides between two processes that start at the same moment.
CREATE UNIQUE INDEX IF NOT EXISTS run_unfinished_plan ON pontoon.run (plan)
    WHERE state NOT IN ('completed', 'rolled_back');

-- The instructions of a run, exactly as they will be executed.
CREATE TABLE IF NOT EXISTS pontoon.step (
    run         uuid NOT NULL REFERENCES pontoon.run (id),
    no          integer NOT NULL,
    -- The instruction and its SQL text, versioned by `wire` in it.
    definition  jsonb NOT NULL,
    state       text NOT NULL DEFAULT 'pending',
    -- Actions of its undo that are done.
    undone      integer NOT NULL DEFAULT 0,
    attempts    integer NOT NULL DEFAULT 0,
    wait_ms     double precision NOT NULL DEFAULT 0,
    hold_ms     double precision NOT NULL DEFAULT 0,
    rows        bigint NOT NULL DEFAULT 0,
    detail      jsonb NOT NULL DEFAULT '{}',
    started_at  timestamptz,
    finished_at timestamptz,
    PRIMARY KEY (run, no)
);

-- A contiguous part of a table, and how far it is done. The cursor of a
-- batch commits with the batch.
CREATE TABLE IF NOT EXISTS pontoon.range (
    run         uuid NOT NULL,
    step        integer NOT NULL,
    -- 0 for a backfill's first pass; verify passes and repeated passes count up.
    pass        integer NOT NULL,
    no          integer NOT NULL,
    -- The leaf table that holds the rows.
    schema_name text NOT NULL,
    table_name  text NOT NULL,
    relid       oid NOT NULL,
    -- Its storage when the range was made, for both kinds of cursor: a
    -- rewrite changes it. Contract compares the filenodes of a verify pass
    -- with those of its own moment.
    filenode    oid NOT NULL,
    cursor_kind text NOT NULL,
    position    text NOT NULL,
    upper       text,
    done        boolean NOT NULL DEFAULT false,
    rows        bigint NOT NULL DEFAULT 0,
    pages_done  bigint NOT NULL DEFAULT 0,
    pages_total bigint NOT NULL DEFAULT 0,
    -- The worker that has it, and until when; NULL when nobody has.
    owner       text,
    owned_until timestamptz,
    detail      jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (run, step, pass, no),
    FOREIGN KEY (run, step) REFERENCES pontoon.step (run, no)
) WITH (fillfactor = 50);

-- What happened, on this database's clock.
CREATE TABLE IF NOT EXISTS pontoon.event (
    id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run   uuid NOT NULL REFERENCES pontoon.run (id),
    at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    by    text,
    event jsonb NOT NULL
);
CREATE INDEX IF NOT EXISTS event_run ON pontoon.event (run, id);

-- Who may act for a run now. A NULL token: nobody holds it.
CREATE TABLE IF NOT EXISTS pontoon.lease (
    run        uuid PRIMARY KEY REFERENCES pontoon.run (id),
    epoch      bigint NOT NULL DEFAULT 0,
    -- Random per takeover: an epoch can be handed out twice across an
    -- asynchronous failover, a token cannot.
    token      uuid,
    holder     jsonb,
    taken_at   timestamptz,
    expires_at timestamptz,
    -- What the holder told with its last heartbeat, for `status` elsewhere.
    live       jsonb
);

-- Gates that a person let the run pass.
CREATE TABLE IF NOT EXISTS pontoon.approval (
    run  uuid NOT NULL REFERENCES pontoon.run (id),
    gate text NOT NULL,
    by   text NOT NULL,
    at   timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    PRIMARY KEY (run, gate)
);

-- What operators asked for, kept as an audit trail.
CREATE TABLE IF NOT EXISTS pontoon.command (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run     uuid NOT NULL REFERENCES pontoon.run (id),
    at      timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    by      text NOT NULL,
    command jsonb NOT NULL
);

-- The advisory lock of a run. Its holders in shared mode are transactions
-- that write for the run; a takeover waits for them in exclusive mode.
CREATE OR REPLACE FUNCTION pontoon.run_key(run uuid) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $body$ SELECT pg_catalog.hashtextextended(run::text, 5060) $body$;

-- Lets a transaction go on only while its process owns the run. The lock
-- comes first and the comparison is a new statement with a new snapshot
-- (therefore VOLATILE, and every transaction READ COMMITTED): a takeover
-- that committed while we waited is seen.
CREATE OR REPLACE FUNCTION pontoon.fence(run uuid, token uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT
    SET search_path = pg_catalog, pg_temp
    AS $body$
BEGIN
    IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the fence of run % needs READ COMMITTED', fence.run
            USING ERRCODE = 'PT500';
    END IF;
    PERFORM pg_catalog.pg_advisory_xact_lock_shared(pontoon.run_key(fence.run));
    IF NOT EXISTS (
        SELECT FROM pontoon.lease
        WHERE lease.run = fence.run AND lease.token = fence.token
    ) THEN
        RAISE EXCEPTION 'another process owns run % now', fence.run
            USING ERRCODE = 'PT409';
    END IF;
END
$body$;

REVOKE ALL ON FUNCTION pontoon.run_key(uuid), pontoon.fence(uuid, uuid) FROM PUBLIC;

INSERT INTO pontoon.meta (version) VALUES (1) ON CONFLICT (only_row) DO NOTHING;
