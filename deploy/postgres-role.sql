-- The least rights that revalidator works with, for a role of its own. Run it as the
-- owner of the tables, in the database, after 'revalidator migrate' (which the owner
-- runs, too), and again after each later migration:
--
--   psql -d DATABASE -v role=revalidator -v password=PASSWORD -f deploy/postgres-role.sql
--
-- Where the server logs statements, it logs the password: change it afterwards with
-- \password, which sends it hashed.
\set ON_ERROR_STOP on
BEGIN;
SELECT format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
ALTER ROLE :"role" PASSWORD :'password';
SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), :'role') \gexec
SELECT format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), :'role') \gexec
-- All of the schema, because it holds nothing else: one of its own is best.
SELECT format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO %I', current_schema(), :'role') \gexec
SELECT format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO %I', current_schema(), :'role') \gexec
-- Which version the tables have, and which installation it is, are the owner's.
REVOKE INSERT, UPDATE, DELETE ON goose_db_version, installation FROM :"role";
COMMIT;
