-- What any operation needs: outputs with a role, versions of a project's media, and results that are there.
-- Statements are separated by lines of "--;".

-- The version before leaves the role out: workers of outputs, and the API of pictures that come with orders.
CREATE FUNCTION asset_role() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.generation_id IS NULL THEN
        NEW.role := 'ordered';
    ELSE
        NEW.role := split_part(NEW.content_type, '/', 1);
        NEW.position := 0;
    END IF;
    RETURN NEW;
END $$
--;
CREATE TRIGGER asset_role BEFORE INSERT ON assets
    FOR EACH ROW WHEN (coalesce(NEW.generation_id, NEW.project_id) IS NOT NULL AND NEW.role IS NULL) EXECUTE FUNCTION asset_role()
--;

CREATE TABLE project_media (
    project_id uuid NOT NULL CONSTRAINT fk_project_media_project_id REFERENCES projects (id),
    role text NOT NULL,
    position smallint NOT NULL,
    version integer NOT NULL,
    asset_id uuid NOT NULL CONSTRAINT uq_project_media_asset_id UNIQUE
                           CONSTRAINT fk_project_media_asset_id REFERENCES assets (id) ON DELETE CASCADE,
    generation_id uuid NOT NULL CONSTRAINT fk_project_media_generation_id REFERENCES generations (id),
    CONSTRAINT pk_project_media PRIMARY KEY (project_id, role, position, version)
)
--;
-- Outputs from before become versions of their projects, oldest first. A picture that went over to another project,
-- because its own was deleted, is no output of that one. What the project shows is the newest version; null would sort
-- after it.
CREATE FUNCTION fill_project_media(projects_to_fill uuid[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, public, pg_temp AS $$
    INSERT INTO project_media (project_id, role, position, version, asset_id, generation_id)
    SELECT a.project_id, kind.role, 0,
           coalesce((SELECT max(version) FROM project_media m
                     WHERE m.project_id = a.project_id AND m.role = kind.role AND m.position = 0), 0)
           + row_number() OVER (PARTITION BY a.project_id, kind.role
                                ORDER BY (a.id IN (p.image_asset_id, p.video_asset_id)) IS TRUE, a.id),
           a.id, a.generation_id
    FROM projects p JOIN assets a ON a.project_id = p.id
                    JOIN generations g ON g.id = a.generation_id AND g.project_id = p.id,
         LATERAL (SELECT split_part(a.content_type, '/', 1) AS role) AS kind
    WHERE p.id = ANY (projects_to_fill) AND NOT EXISTS (SELECT FROM project_media m WHERE m.asset_id = a.id)
$$
--;

-- The two columns that only the version before reads and writes. It shows an asset: then that is the newest version, after
-- those from before, if they aren't there yet.
CREATE FUNCTION project_media_of_columns() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM fill_project_media(ARRAY[NEW.id]);
    RETURN NULL;
END $$
--;
CREATE TRIGGER project_media_of_columns AFTER UPDATE OF image_asset_id, video_asset_id ON projects
    FOR EACH ROW WHEN (ROW(OLD.image_asset_id, OLD.video_asset_id) IS DISTINCT FROM
                       ROW(NEW.image_asset_id, NEW.video_asset_id))
    EXECUTE FUNCTION project_media_of_columns()
--;
CREATE FUNCTION columns_of_project_media() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    UPDATE projects SET image_asset_id = CASE NEW.role WHEN 'image' THEN NEW.asset_id ELSE image_asset_id END,
                        video_asset_id = CASE NEW.role WHEN 'video' THEN NEW.asset_id ELSE video_asset_id END
    WHERE id = NEW.project_id
      AND CASE NEW.role WHEN 'image' THEN image_asset_id ELSE video_asset_id END IS DISTINCT FROM NEW.asset_id
      AND NOT EXISTS (SELECT FROM project_media m WHERE m.project_id = NEW.project_id AND m.role = NEW.role
                                                    AND m.position = 0 AND m.version > NEW.version);
    RETURN NULL;
END $$
--;
CREATE TRIGGER columns_of_project_media AFTER INSERT ON project_media
    FOR EACH ROW WHEN (NEW.position = 0 AND NEW.role IN ('image', 'video')) EXECUTE FUNCTION columns_of_project_media()
--;

-- The version before lists the files of a deleted project by tries. Workers name them by fences: those are listed, too.
CREATE FUNCTION files_by_fence() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO erased_files (asset_id, project_id, storage, key)
    SELECT gen_random_uuid(), NEW.project_id, NEW.storage, file.key
    FROM (SELECT format('generations/%s/%s-%s.%s', s.generation_id, s.name, fence, split_part(NEW.key, '.', 2)) AS key
          FROM generation_steps s, unnest(s.fences) fence
          WHERE s.generation_id = split_part(NEW.key, '/', 2)::uuid
            AND starts_with(split_part(NEW.key, '/', 3), s.name || '-' || s.attempt || '.')) AS file
    WHERE NOT EXISTS (SELECT FROM assets a WHERE a.storage = NEW.storage AND a.key = file.key)
      AND NOT EXISTS (SELECT FROM erased_files e WHERE e.project_id = NEW.project_id AND e.storage = NEW.storage
                                                   AND e.key = file.key);
    RETURN NULL;
END $$
--;
CREATE TRIGGER files_by_fence AFTER INSERT ON erased_files
    FOR EACH ROW WHEN (pg_trigger_depth() = 0 AND NEW.key LIKE 'generations/%') EXECUTE FUNCTION files_by_fence()
--;

-- A success has a result: outputs, data, or both. After the statement, which inserts the outputs, too.
CREATE FUNCTION success_has_result() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM assets WHERE generation_id = NEW.id) THEN
        RAISE check_violation USING MESSAGE = 'a generation that succeeded has an output or data';
    END IF;
    RETURN NULL;
END $$
--;
CREATE TRIGGER success_has_result AFTER UPDATE OF status ON generations
    FOR EACH ROW WHEN (NEW.status = 'succeeded' AND OLD.status <> 'succeeded' AND NEW.output IS NULL)
    EXECUTE FUNCTION success_has_result()
--;
ALTER TABLE generations ENABLE ALWAYS TRIGGER success_has_result
--;

-- What is published has media. Once, when it is published: a deleted project is taken back first.
CREATE FUNCTION published_has_media() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM project_media WHERE project_id = NEW.id)
       AND coalesce(NEW.image_asset_id, NEW.video_asset_id) IS NULL THEN  -- those of before may not be filled in yet
        RAISE check_violation USING MESSAGE = 'a project without media can''t be published';
    END IF;
    RETURN NULL;
END $$
--;
CREATE TRIGGER published_has_media AFTER UPDATE OF is_published ON projects
    FOR EACH ROW WHEN (NEW.is_published AND NOT OLD.is_published) EXECUTE FUNCTION published_has_media()
--;

-- A generation for nobody's project is its user's own.
CREATE OR REPLACE FUNCTION generation_of_own_project() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NEW.project_id IS NOT NULL
       AND NOT EXISTS (SELECT FROM projects WHERE id = NEW.project_id AND user_id = NEW.user_id) THEN
        RAISE insufficient_privilege USING MESSAGE = 'a generation is for a project of its own user';
    END IF;
    RETURN NULL;
END $$
--;
DROP TRIGGER generation_stays ON generations
--;
CREATE TRIGGER generation_stays BEFORE UPDATE ON generations FOR EACH ROW WHEN (
    ROW(OLD.id, OLD.project_id, OLD.slot, OLD.user_id, OLD.account_id, OLD.operation, OLD.credits, OLD.replaces_id)
        IS DISTINCT FROM
    ROW(NEW.id, NEW.project_id, NEW.slot, NEW.user_id, NEW.account_id, NEW.operation, NEW.credits, NEW.replaces_id)
    OR OLD.finished_at IS NOT NULL AND OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION generation_stays()
--;
ALTER TABLE generations ENABLE ALWAYS TRIGGER generation_stays
--;
REVOKE EXECUTE ON FUNCTION fill_project_media(uuid[]), asset_role(), project_media_of_columns(),
    columns_of_project_media(), files_by_fence(), success_has_result(), published_has_media() FROM PUBLIC
--;

ALTER TABLE project_media ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY
--;
CREATE POLICY everybodys ON project_media TO tallyframe_worker, tallyframe_admin, tallyframe_app
    USING (true) WITH CHECK (true)
--;
CREATE POLICY own ON project_media TO tallyframe_api USING (EXISTS (SELECT FROM projects WHERE id = project_id))
--;
GRANT SELECT, INSERT, UPDATE, DELETE ON project_media TO tallyframe_worker
--;
GRANT EXECUTE ON FUNCTION fill_project_media(uuid[]) TO tallyframe_worker, tallyframe_app
--;
GRANT SELECT ON project_media TO tallyframe_admin
--;
GRANT SELECT, DELETE ON project_media TO tallyframe_api
--;
GRANT SELECT, INSERT, UPDATE, DELETE ON project_media TO tallyframe_app
--;
GRANT INSERT (slot, metadata) ON generations TO tallyframe_api
--;
GRANT UPDATE (metadata, deleted_at) ON generations TO tallyframe_api
--;
GRANT INSERT (slot, metadata, replaces_id) ON generations TO tallyframe_admin
--;
GRANT UPDATE (output) ON generations TO tallyframe_api
--;
GRANT UPDATE (output, metadata) ON generations TO tallyframe_worker
--;

-- The API forgets data that a deleted generation has made.
CREATE POLICY forget ON generation_steps FOR UPDATE TO tallyframe_api
    USING (EXISTS (SELECT FROM generations WHERE id = generation_id)) WITH CHECK (result = '{}'::jsonb)
--;
GRANT UPDATE (result) ON generation_steps TO tallyframe_api
--;

-- What is erased hangs on a project, or on a generation that has none.
ALTER POLICY own ON erased_files
    USING (EXISTS (SELECT FROM projects p WHERE p.id = erased_files.project_id)
           OR EXISTS (SELECT FROM generations g WHERE g.id = erased_files.project_id))
    WITH CHECK (EXISTS (SELECT FROM assets a WHERE a.id = asset_id AND a.storage = erased_files.storage
                        AND a.key = erased_files.key)
                OR EXISTS (SELECT FROM generations g
                           WHERE erased_files.project_id IN (g.project_id, g.id)
                             AND starts_with(erased_files.key, 'generations/' || g.id || '/')))
