-- Projects are erased by workers of this version only. Statements are separated by lines of "--;".

DROP TRIGGER files_by_fence ON erased_files
--;
DROP FUNCTION files_by_fence()
--;
UPDATE outbox SET kind = 'erase_project_files' WHERE kind = 'erase_project'
--;
-- The version before calls for `erase_project`, when a project is deleted and when a worker has stored a file of a deleted
-- one. Its API and workers erase, too, but know neither the files nor the words that this version has added, and
-- complete the call. So the call is written down under a name that they don't know.
CREATE FUNCTION erase_project_files() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    NEW.kind := 'erase_project_files';
    -- A new row, and not the old one with a new time: whoever has taken that one must not complete this call.
    DELETE FROM outbox WHERE kind = NEW.kind AND ref = NEW.ref;
    RETURN NEW;
END $$
--;
CREATE TRIGGER erase_project_files BEFORE INSERT ON outbox
    FOR EACH ROW WHEN (NEW.kind = 'erase_project') EXECUTE FUNCTION erase_project_files()
--;
REVOKE EXECUTE ON FUNCTION erase_project_files() FROM PUBLIC
