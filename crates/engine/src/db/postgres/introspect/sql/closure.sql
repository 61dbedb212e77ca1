-- $1 text[], $2 text[]: schemas and names of the tables that were asked for;
-- the name of an index asks for its table.
-- Returns their oids and those of every table tied to them: the whole
-- inheritance or partition tree of each, the tables at the other end of any
-- foreign key of that tree, and the trees of those.
WITH RECURSIVE named (oid) AS (
    SELECT coalesce(i.indrelid, c.oid)
      FROM unnest($1::text[], $2::text[]) AS wanted (schema, name)
      JOIN pg_namespace n ON n.nspname = wanted.schema
      JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.name
      LEFT JOIN pg_index i ON i.indexrelid = c.oid
     WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'i', 'I')
), family AS (
    SELECT oid FROM named
    UNION
    SELECT kin.oid
      FROM family
     CROSS JOIN LATERAL (
           SELECT inhrelid FROM pg_inherits WHERE inhparent = family.oid
           UNION ALL
           SELECT inhparent FROM pg_inherits WHERE inhrelid = family.oid
     ) AS kin (oid)
), partners AS (
    SELECT oid FROM family
    UNION
    SELECT k.confrelid FROM family JOIN pg_constraint k ON k.conrelid = family.oid AND k.contype = 'f'
    UNION
    SELECT k.conrelid FROM family JOIN pg_constraint k ON k.confrelid = family.oid AND k.contype = 'f'
), tied AS (
    SELECT oid FROM partners
    UNION
    SELECT kin.oid
      FROM tied
     CROSS JOIN LATERAL (
           SELECT inhrelid FROM pg_inherits WHERE inhparent = tied.oid
           UNION ALL
           SELECT inhparent FROM pg_inherits WHERE inhrelid = tied.oid
     ) AS kin (oid)
)
SELECT oid FROM tied
