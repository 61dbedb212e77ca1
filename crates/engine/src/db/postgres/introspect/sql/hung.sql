-- $1 oid, $2 name: what goes with this column when it is dropped, by its
-- identity, which a REINDEX does not change. Of what hangs on the column of a
-- partition only that counts which is no part of the whole table's.
SELECT DISTINCT (pg_identify_object(d.classid, d.objid, d.objsubid)).identity
  FROM pg_depend d
  JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
 WHERE d.refclassid = 'pg_class'::regclass AND a.attname = $2
   AND d.deptype IN ('a', 'i') AND d.classid <> 'pg_attrdef'::regclass
   AND (d.refobjid = $1 OR d.refobjid IN (SELECT relid FROM pg_partition_tree($1::regclass))
        AND NOT EXISTS (SELECT FROM pg_inherits i WHERE d.classid = 'pg_class'::regclass AND i.inhrelid = d.objid)
        AND NOT EXISTS (SELECT FROM pg_constraint k
                         WHERE d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
                           AND (k.conparentid <> 0 OR NOT k.conislocal))
        AND NOT EXISTS (SELECT FROM pg_trigger t
                         WHERE d.classid = 'pg_trigger'::regclass AND t.oid = d.objid AND t.tgparentid <> 0))
 ORDER BY 1
