-- What is not as the plans have it. Nothing, at the end.
SELECT 'a task with another priority' WHERE EXISTS (
    SELECT FROM tasks WHERE priority_level IS DISTINCT FROM 1 + id % 3 OR estimate IS DISTINCT FROM id % 40 + 0.5)
UNION ALL
SELECT 'a task without a state' WHERE EXISTS (SELECT FROM tasks WHERE state IS NULL)
UNION ALL
SELECT 'the default is ' || coalesce(column_default, 'gone') FROM information_schema.columns
WHERE table_name = 'tasks' AND column_name = 'priority_level' AND column_default IS NULL
UNION ALL
SELECT 'a member with another name' WHERE EXISTS (
    SELECT FROM members WHERE given_name IS DISTINCT FROM 'Given' || id OR family_name IS DISTINCT FROM 'Family' || id)
UNION ALL
SELECT 'policies: ' || string_agg(policyname, ', ' ORDER BY policyname) FROM pg_policies WHERE tablename = 'tasks'
HAVING count(*) <> 2
UNION ALL
SELECT 'the check of estimates reads ' || with_check FROM pg_policies
WHERE policyname = 'no_huge_estimates' AND with_check NOT LIKE '%estimate%<%1000%'
UNION ALL
SELECT 'the foreign key is not valid' WHERE NOT EXISTS (
    SELECT FROM pg_constraint WHERE conname = 'tasks_assignee_fkey' AND convalidated)
UNION ALL
SELECT 'index ' || wanted || ' is not there' FROM unnest(ARRAY['tasks_priority_idx', 'tasks_assignee_idx', 'tasks_pkey']) AS wanted
WHERE to_regclass(wanted) IS NULL;
