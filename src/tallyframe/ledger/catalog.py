"""The query over Postgres' catalog for all that keeps the books, or gets around what keeps them: (name, definition).

It looks at triggers, policies, constraints, rules and rights on the tables of the books, of generations and of the
administrators' log; at row-level security on every table with users' rows; at the functions, and who may call them;
and at the roles, and what they may do besides.
"""

import sqlalchemy as sa

FACTS = sa.text(r"""
    WITH tables AS (
        SELECT oid, relname, relowner, relacl, relpersistence, relrowsecurity, relforcerowsecurity FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relname IN (
            'users', 'api_keys', 'accounts', 'ledger_entries', 'projects', 'project_images', 'project_media',
            'generations',
            'generation_steps', 'assets', 'erased_files', 'idempotency_keys', 'ai_operations', 'admin_log')),
    books AS (SELECT * FROM tables WHERE relname IN ('accounts', 'ledger_entries')),
    kept AS (SELECT * FROM tables WHERE relname IN ('accounts', 'ledger_entries', 'generations', 'admin_log')),
    functions AS (
        SELECT p.*, lanname FROM pg_proc p JOIN pg_language l ON l.oid = prolang
        WHERE pronamespace = 'public'::regnamespace AND proname IN (
            'ledger_entry_hash', 'ledger_post', 'ledger_apply', 'ledger_refuse', 'refund_is_due', 'account_guard',
            'generation_stays', 'generation_of_own_project', 'acting_user', 'acting_account')),
    roles AS (
        SELECT oid, rolname, rolsuper, rolbypassrls FROM pg_roles
        WHERE rolname IN ('tallyframe_api', 'tallyframe_worker', 'tallyframe_admin', 'tallyframe_webhooks',
                          'tallyframe_app')),
    facts AS (
        SELECT format('trigger %s on %s', tgname, relname) AS name,
               regexp_replace(pg_get_triggerdef(t.oid), '^CREATE TRIGGER \S+ (.*) ON \S+ FOR', '\1 FOR')
               || CASE tgenabled WHEN 'A' THEN '' WHEN 'D' THEN ', disabled' ELSE ', not always' END
               || CASE p.pronamespace WHEN 'public'::regnamespace THEN '' ELSE ', of another schema' END AS definition
        FROM kept JOIN pg_trigger t ON tgrelid = kept.oid JOIN pg_proc p ON p.oid = tgfoid WHERE NOT tgisinternal
        UNION ALL
        SELECT format('column %s of %s', attname, relname), 'may be empty'
        FROM books JOIN pg_attribute ON attrelid = books.oid WHERE attnum > 0 AND NOT attisdropped AND NOT attnotnull
        UNION ALL
        SELECT format('row-level security of %s', relname),
               concat_ws(', ', CASE WHEN relrowsecurity THEN 'enabled' END,
                         CASE WHEN relforcerowsecurity THEN 'forced' END)
        FROM tables
        UNION ALL
        SELECT format('policy %s on %s', polname, relname),
               concat_ws(' ', polcmd, CASE WHEN NOT polpermissive THEN 'restrictive' END,
                         (SELECT string_agg(CASE role WHEN relowner THEN 'its owner' WHEN 0 THEN 'everybody'
                                            ELSE pg_get_userbyid(role) END, ', ' ORDER BY pg_get_userbyid(role))
                          FROM unnest(polroles) AS role),
                         'sees', pg_get_expr(polqual, polrelid), 'writes', pg_get_expr(polwithcheck, polrelid))
        FROM kept JOIN pg_policy ON polrelid = kept.oid
        UNION ALL
        SELECT format('constraint %s on %s', conname, relname), pg_get_constraintdef(c.oid)
        FROM books JOIN pg_constraint c ON conrelid = books.oid WHERE contype <> 'n'
        UNION ALL
        SELECT format('index %s on %s', indexrelid::regclass, relname),
               regexp_replace(pg_get_indexdef(indexrelid), '^CREATE UNIQUE INDEX \S+ ON \S+ ', '')
               || CASE WHEN indisvalid AND indisready THEN '' ELSE ', not valid' END
        FROM books JOIN pg_index i ON indrelid = books.oid
        WHERE indisunique AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
        UNION ALL
        SELECT format('function %s', functions.oid::regprocedure),
               concat_ws(' ', lanname, prosecdef, proconfig, prosrc, pg_get_function_sqlbody(functions.oid),
                         CASE WHEN proowner <> relowner THEN 'of another owner' END)
        FROM functions LEFT JOIN books ON relname = 'ledger_entries'
        UNION ALL
        SELECT format('right to call %s', functions.oid::regprocedure), 'of others than its owner'
        FROM functions
        WHERE NOT starts_with(proname, 'acting_') AND EXISTS (
            SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee <> proowner)
        UNION ALL
        SELECT format('a disabled foreign key of %s', relname), pg_get_constraintdef(tgconstraint)
        FROM books JOIN pg_trigger ON tgrelid = books.oid WHERE tgisinternal AND tgenabled <> 'O'
        UNION ALL
        SELECT format('rule %s on %s', rulename, relname), 'it would rewrite statements'
        FROM kept JOIN pg_rewrite ON ev_class = kept.oid
        UNION ALL
        SELECT format('table %s', inhrelid::regclass), format('its rows show in %s', inhparent::regclass)
        FROM kept JOIN pg_inherits ON kept.oid IN (inhparent, inhrelid)
        UNION ALL
        SELECT format('storage of %s', relname), 'a crash would empty it' FROM kept WHERE relpersistence <> 'p'
        UNION ALL
        SELECT format('%s of %s', privilege_type, relname), format('granted to %s', grantee::regrole)
        FROM (SELECT oid, relname, relowner, relacl FROM kept
              UNION ALL
              SELECT attrelid, relname, relowner, attacl FROM kept JOIN pg_attribute ON attrelid = kept.oid
             ) AS granted, aclexplode(relacl)
        WHERE grantee <> relowner AND relname <> 'generations'
              AND privilege_type NOT IN ('SELECT', 'INSERT', 'REFERENCES')
        UNION ALL
        SELECT format('role %s', rolname), 'it is above row-level security' FROM roles WHERE rolsuper OR rolbypassrls
        UNION ALL
        SELECT format('role %s', rolname), format('it may act as %s', roleid::regrole)
        FROM roles JOIN pg_auth_members ON member = roles.oid)
    SELECT replace(name, 'public.', ''), replace(definition, 'public.', '') FROM facts ORDER BY 1, 2""")
