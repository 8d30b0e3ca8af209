-- Who may do what, and sees whose rows. Statements are separated by lines of "--;".
--
-- tallyframe_api     acts for one user at a time, named by the setting tallyframe.user_id, local to the transaction:
--                    it sees and changes that user's rows, and without the setting none. It can debit and refund.
-- tallyframe_worker  runs everybody's generations. It can refund, and nothing else moves money.
-- tallyframe_admin   sign-in, webhooks, Explore, metrics, administrators and the command line: sees everybody's rows.

-- Roles belong to the whole server, so another Tallyframe database may have made them already, or an administrator.
DO $$
DECLARE
    wanted text;
    is_16 boolean := current_setting('server_version_num')::int >= 160000;  -- it tells membership from the right to SET ROLE
BEGIN
    FOREACH wanted IN ARRAY ARRAY['tallyframe_api', 'tallyframe_worker', 'tallyframe_admin'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            RAISE NOTICE '% has just been made by another migration', wanted;
        END;
        IF NOT pg_has_role(current_user, wanted, CASE WHEN is_16 THEN 'SET' ELSE 'MEMBER' END) THEN
            -- Not inherited, where Postgres can say so: who has not chosen a role yet sees nobody's rows.
            EXECUTE format('GRANT %I TO %I', wanted, current_user)
                    || CASE WHEN is_16 THEN ' WITH INHERIT FALSE, SET TRUE' ELSE '' END;
        END IF;
    END LOOP;
END $$
--;
GRANT USAGE ON SCHEMA public TO tallyframe_api, tallyframe_worker, tallyframe_admin
--;
GRANT SELECT ON alembic_version, accounts, ledger_entries, users TO tallyframe_api, tallyframe_worker, tallyframe_admin
--;
-- Wake-up calls name work and say nothing of users: no policy, and all three write and take them.
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox TO tallyframe_api, tallyframe_worker, tallyframe_admin
--;

GRANT SELECT, INSERT, UPDATE ON projects, generations, api_keys, idempotency_keys TO tallyframe_api
--;
GRANT SELECT, INSERT, UPDATE, DELETE ON assets, project_images, erased_files TO tallyframe_api
--;
GRANT SELECT ON generation_steps TO tallyframe_api
--;
GRANT INSERT (id, account_id, kind, amount, generation_id, reverses_entry_id, reference, reason)
    ON ledger_entries TO tallyframe_api, tallyframe_worker, tallyframe_admin
--;

GRANT SELECT, UPDATE ON projects, generations TO tallyframe_worker
--;
GRANT SELECT, INSERT, UPDATE ON generation_steps, provider_circuits, provider_slots TO tallyframe_worker
--;
GRANT SELECT, INSERT, UPDATE, DELETE ON assets, project_images, erased_files, ai_operations, audits, workers
    TO tallyframe_worker
--;
GRANT SELECT, DELETE ON webhook_events TO tallyframe_worker
--;
GRANT SELECT, UPDATE, DELETE ON idempotency_keys TO tallyframe_worker
--;

GRANT INSERT (id, user_id) ON accounts TO tallyframe_admin
--;
GRANT SELECT, INSERT, UPDATE ON users, api_keys, projects, generations, idempotency_keys TO tallyframe_admin
--;
GRANT SELECT, UPDATE ON generation_steps TO tallyframe_admin
--;
GRANT SELECT, INSERT ON admin_log, webhook_events TO tallyframe_admin
--;
GRANT SELECT, INSERT, UPDATE ON audits TO tallyframe_admin
--;
GRANT SELECT ON assets, project_images, erased_files, ai_operations, provider_circuits, provider_slots, workers
    TO tallyframe_admin
--;

-- The user whose rows are there. In a subquery of each policy, so that it is worked out once per statement.
CREATE FUNCTION acting_user() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
RETURN nullif(current_setting('tallyframe.user_id', true), '')::uuid
--;
CREATE FUNCTION acting_account() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
SET search_path = pg_catalog, public, pg_temp
RETURN (SELECT id FROM accounts WHERE user_id = acting_user())
--;

-- Everybody's rows, for those who work for everybody. `tallyframe_app` is who processes of the version before this one
-- act as: they go on until the deploy has replaced them.
DO $$
DECLARE
    guarded text;
BEGIN
    FOREACH guarded IN ARRAY ARRAY[
        'users', 'api_keys', 'accounts', 'ledger_entries', 'projects', 'project_images', 'generations',
        'generation_steps', 'assets', 'erased_files', 'idempotency_keys', 'ai_operations', 'admin_log'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', guarded);
        IF guarded <> 'ledger_entries' THEN
            EXECUTE format('CREATE POLICY everybodys ON %I TO tallyframe_worker, tallyframe_admin, tallyframe_app
                            USING (true) WITH CHECK (true)', guarded);
        END IF;
    END LOOP;
END $$
--;
CREATE POLICY everybodys ON ledger_entries FOR SELECT TO tallyframe_worker, tallyframe_admin, tallyframe_app USING (true)
--;
CREATE POLICY may_post ON ledger_entries FOR INSERT TO tallyframe_admin, tallyframe_app WITH CHECK (true)
--;
CREATE POLICY may_refund ON ledger_entries FOR INSERT TO tallyframe_worker WITH CHECK (kind = 'refund')
--;

-- The ledger's triggers run as the owner, who reads and writes the books on behalf of whoever inserts.
CREATE POLICY bookkeeping ON accounts TO CURRENT_USER USING (true) WITH CHECK (true)
--;
CREATE POLICY bookkeeping ON ledger_entries TO CURRENT_USER USING (true) WITH CHECK (true)
--;

-- And turn_served_now() looks at everybody's turns.
CREATE POLICY bookkeeping ON generations FOR SELECT TO CURRENT_USER USING (true)
--;

CREATE POLICY own ON users FOR SELECT TO tallyframe_api USING (id = (SELECT acting_user()))
--;
DO $$
DECLARE
    owned text;
BEGIN
    FOREACH owned IN ARRAY ARRAY['api_keys', 'accounts', 'projects', 'assets', 'idempotency_keys'] LOOP
        EXECUTE format('CREATE POLICY own ON %I TO tallyframe_api
                        USING (user_id = (SELECT acting_user())) WITH CHECK (user_id = (SELECT acting_user()))', owned);
    END LOOP;
END $$
--;
CREATE POLICY own ON generations TO tallyframe_api USING (user_id = (SELECT acting_user()))
    WITH CHECK (user_id = (SELECT acting_user()) AND account_id = (SELECT acting_account()))
--;
CREATE POLICY own ON ledger_entries FOR SELECT TO tallyframe_api USING (account_id = (SELECT acting_account()))
--;
CREATE POLICY may_buy ON ledger_entries FOR INSERT TO tallyframe_api
    WITH CHECK (account_id = (SELECT acting_account()) AND kind IN ('debit', 'refund')
                AND reference = 'generation:' || generation_id::text)
--;
CREATE POLICY own ON generation_steps FOR SELECT TO tallyframe_api
    USING (EXISTS (SELECT FROM generations WHERE id = generation_id))
--;
CREATE POLICY own ON erased_files TO tallyframe_api USING (EXISTS (SELECT FROM projects WHERE id = project_id))
--;
-- A project's pictures are inserted by the statement that inserts the project, which a WITH CHECK can't see yet; the
-- trigger below can, because it fires when the statement is done.
CREATE POLICY own ON project_images TO tallyframe_api
    USING (EXISTS (SELECT FROM projects WHERE id = project_id)) WITH CHECK (true)
--;
CREATE FUNCTION own_project_images() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM projects WHERE id = NEW.project_id)
       OR NOT EXISTS (SELECT FROM assets WHERE id = NEW.asset_id) THEN
        RAISE foreign_key_violation USING MESSAGE = 'a project has pictures of its own user only';
    END IF;
    RETURN NULL;
END $$
--;
CREATE TRIGGER own_project_images AFTER INSERT OR UPDATE ON project_images
    FOR EACH ROW EXECUTE FUNCTION own_project_images()
