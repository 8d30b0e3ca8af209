-- What code must not do, and what nobody may call. Statements are separated by lines of "--;".

-- The ledger's functions are for its own triggers: in a trigger of somebody's own table they would write balances.
-- (Triggers that are there need no right to execute.)
REVOKE EXECUTE ON FUNCTION ledger_entry_hash(ledger_entries, bytea), ledger_post(), ledger_apply(), ledger_refuse(),
    account_guard(), own_project_images() FROM PUBLIC
--;
-- An account never changes hands, also not from within a trigger.
CREATE OR REPLACE FUNCTION account_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.balance := 0;
        NEW.version := 0;
        NEW.head := '';
    ELSIF pg_trigger_depth() < 2 OR (NEW.id, NEW.user_id, NEW.created_at) <> (OLD.id, OLD.user_id, OLD.created_at) THEN
        RAISE insufficient_privilege USING MESSAGE = 'accounts change only by inserting a ledger entry';
    END IF;
    RETURN NEW;
END $$
--;

-- A generation stays what was ordered, whose it is and what it costs, and its end is final.
CREATE FUNCTION generation_stays() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE insufficient_privilege USING MESSAGE = 'a generation keeps its order, its user and its price, and its end is final';
END $$
--;
CREATE TRIGGER generation_stays BEFORE UPDATE ON generations FOR EACH ROW WHEN (
    ROW(OLD.id, OLD.project_id, OLD.user_id, OLD.account_id, OLD.operation, OLD.credits)
        IS DISTINCT FROM ROW(NEW.id, NEW.project_id, NEW.user_id, NEW.account_id, NEW.operation, NEW.credits)
    OR OLD.finished_at IS NOT NULL AND OLD.status IS DISTINCT FROM NEW.status)
    EXECUTE FUNCTION generation_stays()
--;
ALTER TABLE generations ENABLE ALWAYS TRIGGER generation_stays
--;
-- After the statement, which may make the project, too.
CREATE FUNCTION generation_of_own_project() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM projects WHERE id = NEW.project_id AND user_id = NEW.user_id) THEN
        RAISE insufficient_privilege USING MESSAGE = 'a generation is for a project of its own user';
    END IF;
    RETURN NULL;
END $$
--;
CREATE TRIGGER generation_of_own_project AFTER INSERT ON generations
    FOR EACH ROW EXECUTE FUNCTION generation_of_own_project()
--;
ALTER TABLE generations ENABLE ALWAYS TRIGGER generation_of_own_project
--;
-- After the statement, which may end the generation, too. As the owner, who sees everybody's.
CREATE FUNCTION refund_is_due() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM generations
                   WHERE id = NEW.generation_id AND status IN ('failed', 'canceled') AND credits = NEW.amount) THEN
        RAISE insufficient_privilege USING MESSAGE = 'only what has failed or was canceled is refunded, and in full';
    END IF;
    RETURN NULL;
END $$
--;
CREATE TRIGGER ledger_refund_is_due AFTER INSERT ON ledger_entries
    FOR EACH ROW WHEN (NEW.kind = 'refund') EXECUTE FUNCTION refund_is_due()
--;
ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER ledger_refund_is_due
--;
REVOKE EXECUTE ON FUNCTION generation_stays(), generation_of_own_project(), refund_is_due() FROM PUBLIC
--;

-- Each role changes the columns that are its business, and no others.
REVOKE INSERT, UPDATE ON projects, generations, api_keys, idempotency_keys, assets, project_images, erased_files
    FROM tallyframe_api
--;
GRANT INSERT (id, project_id, turn, expires_at, user_id, account_id, operation, input, credits),
      UPDATE (status, finished_at, lease_until, wake_at, error_code, error_message, input) ON generations TO tallyframe_api
--;
GRANT INSERT (id, generation_id, status, user_id, kind, prompt, prompt_id, aspect_ratio, metadata),
      UPDATE (generation_id, status, status_sequence, updated_at, is_published, published_at, deleted_at, prompt, metadata)
    ON projects TO tallyframe_api
--;
GRANT INSERT, UPDATE (revoked_at) ON api_keys TO tallyframe_api
--;
GRANT INSERT (user_id, key, fingerprint, ref), UPDATE (answer) ON idempotency_keys TO tallyframe_api
--;
GRANT INSERT, UPDATE (project_id) ON assets TO tallyframe_api
--;
GRANT INSERT ON project_images, erased_files TO tallyframe_api
--;
REVOKE UPDATE ON projects, generations, idempotency_keys FROM tallyframe_worker
--;
GRANT UPDATE (status, step, fence, attempt, retries, turn, worker, lease_until, wake_at, provider, model, error_code,
              error_message, started_at, finished_at, input) ON generations TO tallyframe_worker
--;
GRANT UPDATE (status, status_sequence, updated_at, image_asset_id, video_asset_id) ON projects TO tallyframe_worker
--;
GRANT UPDATE (answer) ON idempotency_keys TO tallyframe_worker
--;
REVOKE INSERT, UPDATE ON projects, generations FROM tallyframe_admin
--;
GRANT INSERT (id, project_id, turn, expires_at, user_id, account_id, operation, input, credits),
      UPDATE (status, finished_at, lease_until, wake_at, error_code, error_message) ON generations TO tallyframe_admin
--;
GRANT UPDATE (generation_id, status, status_sequence, updated_at, is_published, published_at) ON projects
    TO tallyframe_admin
--;
-- The auditor holds adjustments against the log.
GRANT SELECT ON admin_log TO tallyframe_worker
--;

-- A file is erased by the API with its own row, or below the name of a generation of that project.
ALTER POLICY own ON erased_files USING (EXISTS (SELECT FROM projects WHERE id = project_id))
    WITH CHECK (EXISTS (SELECT FROM assets a WHERE a.id = asset_id AND a.storage = erased_files.storage
                        AND a.key = erased_files.key)
                OR EXISTS (SELECT FROM generations g WHERE g.project_id = erased_files.project_id
                           AND starts_with(erased_files.key, 'generations/' || g.id || '/')))
