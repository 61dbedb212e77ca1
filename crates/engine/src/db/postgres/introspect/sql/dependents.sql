-- $1 oid[]: everything in pg_depend that refers to these tables, to one of
-- their columns, or to their row types. Each row carries the facts from which
-- the caller decides what it is; a class without facts stays unknown there.
--
-- Node trees are searched as text: `:varattno 0` is a whole-row reference,
-- `:vartype` followed by the table's row type a reference to its rows.
WITH edge AS (
    SELECT d.refobjid AS relation, d.refobjsubid AS attnum, false AS by_type,
           d.classid, d.objid, d.objsubid, d.deptype
      FROM pg_depend d
     WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY ($1)
       -- A column's own default is data, and there are many of them.
       AND NOT (d.classid = 'pg_attrdef'::regclass AND EXISTS (
           SELECT FROM pg_attrdef own
            WHERE own.oid = d.objid AND own.adrelid = d.refobjid AND own.adnum = d.refobjsubid))
    UNION ALL
    SELECT c.oid, 0, true, d.classid, d.objid, d.objsubid, d.deptype
      FROM pg_class c
      JOIN pg_type t ON t.oid = c.reltype
      JOIN pg_depend d ON d.refclassid = 'pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray)
     WHERE c.oid = ANY ($1)
       AND NOT (d.classid = 'pg_type'::regclass AND d.objid = t.typarray)
)
SELECT json_build_object(
    'table', e.relation::bigint,
    'attnum', e.attnum,
    'by_type', e.by_type,
    'deptype', e.deptype,
    'class', (SELECT relname FROM pg_class WHERE oid = e.classid),
    'described', coalesce(pg_describe_object(e.classid, e.objid, e.objsubid), 'a dropped object'),
    'relation', (
        SELECT json_build_object(
            'kind', o.relkind, 'schema', n.nspname, 'name', o.relname,
            'same', o.oid = e.relation,
            'child', EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = o.oid AND h.inhparent = e.relation),
            'generated', (SELECT a.attname FROM pg_attribute a
                           WHERE a.attrelid = o.oid AND a.attnum = e.objsubid AND a.attgenerated <> ''),
            'constraint', k.conname, 'contype', k.contype,
            'whole_row', concat(oi.indexprs::text, ' ', oi.indpred::text) ~ ':varattno 0 ')
          FROM pg_class o
          JOIN pg_namespace n ON n.oid = o.relnamespace
          LEFT JOIN pg_index oi ON oi.indexrelid = o.oid
          LEFT JOIN pg_constraint k ON k.conrelid = oi.indrelid AND k.conindid = o.oid
                                   AND k.contype IN ('p', 'u', 'x')
         WHERE e.classid = 'pg_class'::regclass AND o.oid = e.objid
         LIMIT 1),
    'constraint', (
        SELECT json_build_object(
            'name', k.conname, 'contype', k.contype, 'schema', n.nspname, 'table', r.relname,
            'same', k.conrelid = e.relation,
            'in_key', k.conrelid = e.relation AND e.attnum = ANY (k.conkey),
            'in_referenced_key', k.confrelid = e.relation AND e.attnum = ANY (k.confkey),
            'copy', k.conparentid <> 0 AND EXISTS (
                SELECT FROM pg_constraint up WHERE up.oid = k.conparentid
                                           AND (up.confrelid = k.confrelid OR up.conrelid = k.conrelid)),
            'whole_row', coalesce(k.conbin::text ~ ':varattno 0 ', false))
          FROM pg_constraint k
          LEFT JOIN pg_class r ON r.oid = k.conrelid
          LEFT JOIN pg_namespace n ON n.oid = r.relnamespace
         WHERE e.classid = 'pg_constraint'::regclass AND k.oid = e.objid),
    'rule', (
        SELECT json_build_object(
            'name', w.rulename, 'kind', r.relkind, 'schema', n.nspname, 'table', r.relname,
            'whole_row', concat(w.ev_action::text, ' ', w.ev_qual::text)
                         ~ (':vartype ' || (SELECT reltype FROM pg_class WHERE oid = e.relation) || ' '))
          FROM pg_rewrite w
          JOIN pg_class r ON r.oid = w.ev_class
          JOIN pg_namespace n ON n.oid = r.relnamespace
         WHERE e.classid = 'pg_rewrite'::regclass AND w.oid = e.objid),
    'trigger', (
        SELECT json_build_object(
            'name', g.tgname, 'internal', g.tgisinternal, 'same', g.tgrelid = e.relation,
            'update_of', e.attnum = ANY (g.tgattr::int2[]),
            'in_when', coalesce(g.tgqual::text ~ (':varattno ' || e.attnum || ' '), false))
          FROM pg_trigger g
         WHERE e.classid = 'pg_trigger'::regclass AND g.oid = e.objid),
    'policy', (
        SELECT json_build_object(
            'name', p.polname, 'schema', n.nspname, 'table', r.relname, 'same', p.polrelid = e.relation,
            'whole_row', concat(p.polqual::text, ' ', p.polwithcheck::text)
                         ~ (':vartype ' || (SELECT reltype FROM pg_class WHERE oid = e.relation) || ' '))
          FROM pg_policy p
          JOIN pg_class r ON r.oid = p.polrelid
          JOIN pg_namespace n ON n.oid = r.relnamespace
         WHERE e.classid = 'pg_policy'::regclass AND p.oid = e.objid),
    'default', (
        SELECT json_build_object(
            'column', a.attname, 'generated', a.attgenerated <> '')
          FROM pg_attrdef d
          JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
         WHERE e.classid = 'pg_attrdef'::regclass AND d.oid = e.objid),
    'statistics', (
        SELECT n.nspname || '.' || x.stxname
          FROM pg_statistic_ext x JOIN pg_namespace n ON n.oid = x.stxnamespace
         WHERE e.classid = 'pg_statistic_ext'::regclass AND x.oid = e.objid),
    'function', CASE WHEN e.classid = 'pg_proc'::regclass THEN e.objid::regprocedure::text END,
    'own_row_type', e.classid = 'pg_type'::regclass
                AND EXISTS (SELECT FROM pg_type t WHERE t.oid = e.objid AND t.typrelid = e.relation)
)::text
  FROM edge e
