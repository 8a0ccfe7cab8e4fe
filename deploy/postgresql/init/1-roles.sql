-- Once, as a superuser, in the product's own database: one role that owns and migrates, one that the product runs as.
-- Give each a password: \password aisoc_owner, \password aisoc_app.
CREATE ROLE aisoc_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
CREATE ROLE aisoc_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT;

DO $$ BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO aisoc_owner, aisoc_app', current_database());
END $$;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO aisoc_owner;
GRANT USAGE ON SCHEMA public TO aisoc_app;

-- What the owner's migrations make, the product may read and write, and no more: no TRUNCATE, no trigger, no other definition.
ALTER DEFAULT PRIVILEGES FOR ROLE aisoc_owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO aisoc_app;
ALTER DEFAULT PRIVILEGES FOR ROLE aisoc_owner IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO aisoc_app;
