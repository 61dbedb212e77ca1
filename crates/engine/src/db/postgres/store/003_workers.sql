-- Pontoon's own schema, version 3: several processes on one run.
--
-- Running this twice changes nothing.

-- A range's owner is the token of a process: the lease's, or a worker's. It
-- owns the range for as long as its own term lasts.
ALTER TABLE pontoon.range
    DROP COLUMN IF EXISTS owned_until,
    -- Others hold all the rows that it has left: not to be taken before this.
    ADD COLUMN IF NOT EXISTS rests_until timestamptz;

-- Processes that help the holder of a run's lease with its ranges.
CREATE TABLE IF NOT EXISTS pontoon.worker (
    -- Random per process and term: its proof, and the owner of its ranges.
    token      uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
    run        uuid NOT NULL REFERENCES pontoon.run (id),
    -- The lease's token when it joined. A takeover ends every membership.
    term       uuid NOT NULL,
    holder     jsonb NOT NULL,
    joined_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    -- Afterwards others take its ranges, and end its membership.
    expires_at timestamptz NOT NULL,
    -- What it told with its last heartbeat.
    live       jsonb
);
CREATE INDEX IF NOT EXISTS worker_run ON pontoon.worker (run);

-- Lets a transaction that works on a range go on while its process holds the
-- lease, or has joined the holder of this very term. All else as in
-- `pontoon.fence`; which range belongs to whom is for the range's row to say.
CREATE OR REPLACE FUNCTION pontoon.fence_work(run uuid, token uuid) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT
    SET search_path = pg_catalog, pg_temp
    AS $body$
BEGIN
    IF pg_catalog.current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the fence of run % needs READ COMMITTED', fence_work.run
            USING ERRCODE = 'PT500';
    END IF;
    PERFORM pg_catalog.pg_advisory_xact_lock_shared(pontoon.run_key(fence_work.run));
    IF NOT EXISTS (
        SELECT FROM pontoon.lease l
        WHERE l.run = fence_work.run
          AND (l.token = fence_work.token
               OR l.token = (SELECT w.term FROM pontoon.worker w
                             WHERE w.token = fence_work.token AND w.run = fence_work.run))
    ) THEN
        RAISE EXCEPTION 'another process owns run % now', fence_work.run
            USING ERRCODE = 'PT409';
    END IF;
END
$body$;

REVOKE ALL ON FUNCTION pontoon.fence_work(uuid, uuid) FROM PUBLIC;

UPDATE pontoon.meta SET version = 3, upgraded_at = pg_catalog.clock_timestamp() WHERE version < 3;
