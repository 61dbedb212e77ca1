-- Pontoon's own schema, version 2: settings in layers, and requests to the
-- holder of a run.
--
-- Running this twice changes nothing.

ALTER TABLE pontoon.run
    -- What plan and environment said at the last `run`: settings, where each
    -- comes from, ceilings. `settings` beside it is what holds: these with
    -- the live ones over them.
    ADD COLUMN IF NOT EXISTS base jsonb,
    -- Live settings: [{key, value, by, at, forced}].
    ADD COLUMN IF NOT EXISTS live_settings jsonb NOT NULL DEFAULT '[]',
    -- Counts commands, so that a heartbeat sees whether there is news.
    ADD COLUMN IF NOT EXISTS revision bigint NOT NULL DEFAULT 0,
    -- Who asks the holder to let go, and since when.
    ADD COLUMN IF NOT EXISTS stop_requested text,
    ADD COLUMN IF NOT EXISTS stop_requested_at timestamptz;

UPDATE pontoon.meta SET version = 2, upgraded_at = pg_catalog.clock_timestamp() WHERE version < 2;
