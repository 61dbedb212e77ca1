-- A service for many tenants: every key begins with the tenant, and row
-- policies keep tenants apart.

CREATE TABLE tenants (
    id      uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    slug    text NOT NULL UNIQUE,
    plan    text NOT NULL DEFAULT 'free'
);

CREATE TABLE members (
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id        integer NOT NULL,
    email     text NOT NULL,
    role      text NOT NULL DEFAULT 'reader' CHECK (role IN ('reader', 'writer', 'owner')),
    full_name text,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, email)
);

CREATE TABLE projects (
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    id        integer NOT NULL,
    name      text NOT NULL,
    owner_id  integer NOT NULL,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, owner_id) REFERENCES members (tenant_id, id)
);

CREATE TABLE tasks (
    tenant_id   uuid NOT NULL,
    id          integer NOT NULL,
    project_id  integer NOT NULL,
    assignee_id integer,
    title       text NOT NULL,
    state       text,
    priority    text NOT NULL DEFAULT 'normal',
    estimate    real,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE CASCADE
);

CREATE INDEX tasks_assignee_idx ON tasks (tenant_id, assignee_id) WHERE assignee_id IS NOT NULL;
CREATE INDEX tasks_priority_idx ON tasks (tenant_id, priority, id);

CREATE FUNCTION current_tenant() RETURNS uuid LANGUAGE sql STABLE
    RETURN nullif(current_setting('app.tenant', true), '')::uuid;

ALTER TABLE members ENABLE ROW LEVEL SECURITY;
ALTER TABLE projects ENABLE ROW LEVEL SECURITY;
ALTER TABLE tasks ENABLE ROW LEVEL SECURITY;
CREATE POLICY same_tenant ON members USING (tenant_id = current_tenant());
CREATE POLICY owners_stay ON members AS RESTRICTIVE FOR DELETE USING (role <> 'owner');
CREATE POLICY same_tenant ON projects USING (tenant_id = current_tenant());
CREATE POLICY same_tenant ON tasks USING (tenant_id = current_tenant());
CREATE POLICY no_huge_estimates ON tasks AS RESTRICTIVE FOR INSERT WITH CHECK (estimate IS NULL OR estimate < 1000);

INSERT INTO tenants (id, slug)
SELECT md5('tenant ' || n)::uuid, 'tenant-' || n FROM generate_series(1, 20) AS n;
INSERT INTO members (tenant_id, id, email, role, full_name)
SELECT t.id, n, 'member' || n || '@' || t.slug || '.example', CASE n WHEN 1 THEN 'owner' ELSE 'writer' END, 'Given' || n || ' Family' || n
FROM tenants AS t, generate_series(1, 25) AS n;
INSERT INTO projects SELECT t.id, n, 'Project ' || n, 1 + n % 25 FROM tenants AS t, generate_series(1, 10) AS n;
INSERT INTO tasks (tenant_id, id, project_id, assignee_id, title, state, priority, estimate)
SELECT t.id, n, 1 + n % 10, CASE WHEN n % 3 <> 0 THEN 1 + n % 25 END, 'Task ' || n,
       CASE WHEN n % 4 <> 0 THEN 'open' END, (ARRAY['low', 'normal', 'high'])[1 + n % 3], n % 40 + 0.5
FROM tenants AS t, generate_series(1, 300) AS n;

ANALYZE;
