-- What API and worker may do: they act as this role and can't change the past.

-- Roles belong to the whole server, so another Tallyframe database may have made it already, or an administrator.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tallyframe_app') THEN
        CREATE ROLE tallyframe_app NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    RAISE NOTICE 'tallyframe_app has just been made by another migration';
END $$
--;
DO $$
BEGIN
    IF NOT pg_has_role(current_user, 'tallyframe_app', 'MEMBER') THEN
        EXECUTE format('GRANT tallyframe_app TO %I', current_user);
    END IF;
END $$
--;
GRANT USAGE ON SCHEMA public TO tallyframe_app
--;
GRANT SELECT, INSERT, UPDATE ON users, api_keys, projects, generations, generation_steps TO tallyframe_app
--;
GRANT SELECT, INSERT, UPDATE, DELETE ON assets, erased_files, project_images, outbox TO tallyframe_app
--;
GRANT SELECT ON accounts, ledger_entries, alembic_version TO tallyframe_app
--;
GRANT INSERT (id, user_id) ON accounts TO tallyframe_app
--;
GRANT INSERT (id, account_id, kind, amount, generation_id, reverses_entry_id, reference, reason)
    ON ledger_entries TO tallyframe_app
