-- The ledger's guards. Statements are separated by lines of "--;".

-- What an entry's hash is: SHA-256 over the hash before it and the entry's content, as an unambiguous JSON array.
CREATE FUNCTION ledger_entry_hash(entry ledger_entries, previous bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, public, pg_temp
RETURN sha256(previous || convert_to(jsonb_build_array(
    entry.id, entry.account_id, entry.version, entry.kind, entry.amount, entry.balance_after, entry.generation_id,
    entry.reverses_entry_id, entry.reference, entry.reason, (extract(epoch FROM entry.created_at) * 1000000)::bigint
)::text, 'UTF8'))
--;

-- Where money is counted. Locks the account, goes on from its last entry, extends the chain, or refuses.
-- It goes on from the entry and not from the account, so that several entries in one statement follow each other.
CREATE FUNCTION ledger_post() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    last ledger_entries%ROWTYPE;
    reversed ledger_entries%ROWTYPE;
BEGIN
    PERFORM FROM accounts WHERE id = NEW.account_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE foreign_key_violation USING MESSAGE = format('there is no account %s', NEW.account_id);
    END IF;
    IF NEW.reverses_entry_id IS NOT NULL THEN
        SELECT * INTO reversed FROM ledger_entries WHERE id = NEW.reverses_entry_id;
        IF NOT FOUND OR reversed.kind <> 'debit' OR reversed.account_id <> NEW.account_id
           OR reversed.generation_id IS DISTINCT FROM NEW.generation_id OR NEW.amount > -reversed.amount THEN
            RAISE check_violation USING MESSAGE = 'a refund gives back a debit of the same account, and not more';
        END IF;
    END IF;
    SELECT * INTO last FROM ledger_entries WHERE account_id = NEW.account_id ORDER BY version DESC LIMIT 1;
    NEW.version := coalesce(last.version, 0) + 1;
    NEW.balance_after := coalesce(last.balance_after, 0) + NEW.amount;
    NEW.created_at := clock_timestamp();
    -- Taking back a payment that was refunded may take the balance below zero; nothing else may.
    IF NEW.balance_after < 0 AND NEW.amount < 0 AND NEW.kind <> 'clawback' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'TF402', MESSAGE = 'insufficient credits', DETAIL = coalesce(last.balance_after, 0)::text;
    END IF;
    NEW.hash := ledger_entry_hash(NEW, coalesce(last.hash, ''));
    RETURN NEW;
END $$
--;
CREATE TRIGGER ledger_post BEFORE INSERT ON ledger_entries FOR EACH ROW EXECUTE FUNCTION ledger_post()
--;
ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER ledger_post
--;

-- Where money moves. Only once the entry is really there: ON CONFLICT may still have skipped it after ledger_post.
CREATE FUNCTION ledger_apply() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    UPDATE accounts SET balance = NEW.balance_after, version = NEW.version, head = NEW.hash WHERE id = NEW.account_id;
    RETURN NULL;
END $$
--;
CREATE TRIGGER ledger_apply AFTER INSERT ON ledger_entries FOR EACH ROW EXECUTE FUNCTION ledger_apply()
--;
ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER ledger_apply
--;

CREATE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE insufficient_privilege USING MESSAGE = format('%s: %s is refused, the books are append-only', TG_TABLE_NAME, TG_OP);
END $$
--;
CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE ON ledger_entries
    FOR EACH ROW EXECUTE FUNCTION ledger_refuse()
--;
ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER ledger_append_only
--;
CREATE TRIGGER ledger_no_truncate BEFORE TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()
--;
ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER ledger_no_truncate
--;

-- An account starts empty and changes only from within ledger_apply, one trigger deeper.
CREATE FUNCTION account_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.balance := 0;
        NEW.version := 0;
        NEW.head := '';
    ELSIF pg_trigger_depth() < 2 THEN
        RAISE insufficient_privilege USING MESSAGE = 'accounts change only by inserting a ledger entry';
    END IF;
    RETURN NEW;
END $$
--;
CREATE TRIGGER account_guard BEFORE INSERT OR UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION account_guard()
--;
ALTER TABLE accounts ENABLE ALWAYS TRIGGER account_guard
--;
CREATE TRIGGER account_no_delete BEFORE DELETE ON accounts FOR EACH ROW EXECUTE FUNCTION ledger_refuse()
--;
ALTER TABLE accounts ENABLE ALWAYS TRIGGER account_no_delete
--;
CREATE TRIGGER account_no_truncate BEFORE TRUNCATE ON accounts FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse()
--;
ALTER TABLE accounts ENABLE ALWAYS TRIGGER account_no_truncate
