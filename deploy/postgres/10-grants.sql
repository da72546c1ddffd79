-- The least that leadstream needs in the call centre's database, run by the owner of its tables. Change the password, or
-- let your secret store set it. To create the role and let it create its schema takes CREATEROLE and the ownership of the
-- database, too. The schema belongs to the role: others may not read it, and `pg_dump` of the whole database takes an
-- account that may (docs/how-to/runbook.md, "Backup and restore"). Where the tables lie in another schema than `public`,
-- whoever runs this owns that, too.
--
-- The two additions to user_call_scores are an index and a column; `consumer setup` would make them, but only an owner
-- may. Without the index of call_queue every change of a queue reads that whole table; without that of conversions every
-- batch of a backlog does. Writes to a table wait while its index is built: where a table is large and in use, first make
-- the three indexes by CREATE INDEX CONCURRENTLY, under these names. What is there is left as it is.
ALTER TABLE user_call_scores ADD COLUMN IF NOT EXISTS last_conversion_check_at timestamp;
CREATE INDEX IF NOT EXISTS idx_user_call_scores_queue_type_last_call
    ON user_call_scores (current_queue_type, last_call_at);
CREATE INDEX IF NOT EXISTS idx_call_queue_user_status ON call_queue (user_id, status);
CREATE INDEX IF NOT EXISTS ix_conversions_user_id ON conversions (user_id);

DO $$
DECLARE
    usage text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'leadstream') THEN
        CREATE ROLE leadstream LOGIN PASSWORD 'leadstream';
    END IF;
    -- For the schema `leadstream`, which is our own and which `consumer setup` creates and keeps up to date.
    EXECUTE format('GRANT CONNECT, CREATE ON DATABASE %I TO leadstream', current_database());
    -- For tables in a schema that, unlike `public`, not everybody may use.
    FOR usage IN
        SELECT DISTINCT format('GRANT USAGE ON SCHEMA %I TO leadstream', schema.nspname)
        FROM pg_class AS theirs JOIN pg_namespace AS schema ON schema.oid = theirs.relnamespace, pg_roles AS ours
        WHERE theirs.oid IN ('user_call_scores'::regclass, 'call_queue'::regclass, 'conversions'::regclass)
          AND ours.rolname = 'leadstream' AND NOT has_schema_privilege(ours.oid, schema.oid, 'USAGE')
    LOOP
        EXECUTE usage;
    END LOOP;
END
$$;
GRANT SELECT, INSERT, UPDATE ON user_call_scores, call_queue TO leadstream;
GRANT SELECT, INSERT ON conversions TO leadstream;
-- For `reconciler attribution`, which notes whose calls earned a conversion; leave it out where others do.
DO $$
BEGIN
    IF to_regclass('call_sessions') IS NOT NULL THEN
        GRANT SELECT ON call_sessions TO leadstream;
        GRANT UPDATE (primary_agent_id, contributing_agents) ON conversions TO leadstream;
    END IF;
END
$$;
