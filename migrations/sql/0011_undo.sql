DO $$
DECLARE
    without_project bigint;
    others bigint;
BEGIN
    SELECT count(*) FILTER (WHERE project_id IS NULL), count(*) FILTER (WHERE operation NOT IN ('image', 'video'))
    INTO without_project, others FROM generations;
    IF without_project + others > 0 THEN
        RAISE 'revision 0010 knows no generations without a project (there are %) and none but of images and videos (%)',
            without_project, others
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Their receipts belong to the books, so they can''t be deleted. Restore the backup from before.';
    END IF;
END $$
--;
ALTER POLICY own ON erased_files USING (EXISTS (SELECT FROM projects WHERE id = project_id))
    WITH CHECK (EXISTS (SELECT FROM assets a WHERE a.id = asset_id AND a.storage = erased_files.storage
                        AND a.key = erased_files.key)
                OR EXISTS (SELECT FROM generations g WHERE g.project_id = erased_files.project_id
                           AND starts_with(erased_files.key, 'generations/' || g.id || '/')))
--;
DROP TRIGGER generation_stays ON generations
--;
CREATE TRIGGER generation_stays BEFORE UPDATE ON generations FOR EACH ROW WHEN (
    ROW(OLD.id, OLD.project_id, OLD.user_id, OLD.account_id, OLD.operation, OLD.credits)
        IS DISTINCT FROM ROW(NEW.id, NEW.project_id, NEW.user_id, NEW.account_id, NEW.operation, NEW.credits)
    OR OLD.finished_at IS NOT NULL AND OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION generation_stays()
--;
ALTER TABLE generations ENABLE ALWAYS TRIGGER generation_stays
--;
DROP POLICY forget ON generation_steps
--;
REVOKE UPDATE (result) ON generation_steps FROM tallyframe_api
--;
DROP TRIGGER published_has_media ON projects
--;
DROP TRIGGER success_has_result ON generations
--;
DROP TRIGGER files_by_fence ON erased_files
--;
DROP TRIGGER columns_of_project_media ON project_media
--;
DROP TRIGGER project_media_of_columns ON projects
--;
DROP TRIGGER asset_role ON assets
--;
DROP FUNCTION fill_project_media(uuid[]), asset_role(), project_media_of_columns(), columns_of_project_media(),
    files_by_fence(), success_has_result(), published_has_media()
