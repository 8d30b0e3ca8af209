-- A role that applies webhooks in workers. Statements are separated by lines of "--;".
--
-- tallyframe_webhooks  signs users up with a grant of their own, follows their profiles and their deletion. It sees
--                      nobody's projects but to take them out of Explore, and moves no other credits.

-- As the other roles were made: for the whole server, and not inherited.
DO $$
DECLARE
    is_16 boolean := current_setting('server_version_num')::int >= 160000;  -- it tells membership from the right to SET ROLE
BEGIN
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tallyframe_webhooks') THEN
            CREATE ROLE tallyframe_webhooks NOLOGIN;
        END IF;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
        RAISE NOTICE 'tallyframe_webhooks has just been made by another migration';
    END;
    IF NOT pg_has_role(current_user, 'tallyframe_webhooks', CASE WHEN is_16 THEN 'SET' ELSE 'MEMBER' END) THEN
        EXECUTE format('GRANT tallyframe_webhooks TO %I', current_user)
                || CASE WHEN is_16 THEN ' WITH INHERIT FALSE, SET TRUE' ELSE '' END;
    END IF;
END $$
--;
GRANT USAGE ON SCHEMA public TO tallyframe_webhooks
--;
GRANT SELECT, INSERT, UPDATE, DELETE ON outbox TO tallyframe_webhooks
--;
GRANT SELECT ON webhook_events TO tallyframe_webhooks
--;
GRANT UPDATE (status, attempts, error, finished_at, headers, body) ON webhook_events
    TO tallyframe_webhooks, tallyframe_admin
--;
GRANT SELECT, INSERT (id, issuer, subject, email, display_name, deleted_at),
      UPDATE (email, display_name, profile_updated_at, deleted_at) ON users TO tallyframe_webhooks
--;
GRANT SELECT, INSERT (id, user_id) ON accounts TO tallyframe_webhooks
--;
GRANT INSERT (id, account_id, kind, amount, generation_id, reverses_entry_id, reference, reason)
    ON ledger_entries TO tallyframe_webhooks
--;
GRANT SELECT (user_id, secret_hash, revoked_at), UPDATE (revoked_at) ON api_keys TO tallyframe_webhooks
--;
GRANT SELECT (user_id, deleted_at, is_published, status_sequence),
      UPDATE (is_published, published_at, status_sequence, updated_at) ON projects TO tallyframe_webhooks
--;
DO $$
DECLARE
    followed text;
BEGIN
    FOREACH followed IN ARRAY ARRAY['users', 'accounts', 'api_keys', 'projects'] LOOP
        EXECUTE format('CREATE POLICY of_webhooks ON %I TO tallyframe_webhooks USING (true) WITH CHECK (true)', followed);
    END LOOP;
END $$
--;
CREATE POLICY may_sign_up ON ledger_entries FOR INSERT TO tallyframe_webhooks
    WITH CHECK (kind = 'grant' AND reference = 'sign-up:' || (SELECT user_id FROM accounts WHERE id = account_id)::text)
