"""The statements with which a session begins that restores within the live database."""

from __future__ import annotations

from soulsense_db.drivers.postgresql.statements import OF_USERS

PUBLIC = "public"
# What a new database has; its owner is a member of that role.
MAKE_PUBLIC = (
    f"CREATE SCHEMA {PUBLIC}",
    "DO $$ BEGIN IF pg_has_role('pg_database_owner', 'USAGE') THEN"
    f" ALTER SCHEMA {PUBLIC} OWNER TO pg_database_owner; END IF; END $$",
    f"GRANT USAGE ON SCHEMA {PUBLIC} TO PUBLIC",
    f"COMMENT ON SCHEMA {PUBLIC} IS 'standard public schema'",
)
# What a role or a database may have set, before the script of pg_restore does it; some of these are
# of later versions.
_NO_TIMEOUTS = (
    "DO $$ BEGIN PERFORM set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN ("
    "'statement_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout'); END $$"
)
# Each statement sees what others have committed, whatever is usual for the user: what they make
# while the backup is loaded is replaced, too. Names are quoted where they have to be. No schema in
# which others may make operators is searched (CVE-2018-1058).
BEGIN = (
    _NO_TIMEOUTS,
    "BEGIN ISOLATION LEVEL READ COMMITTED",
    "SET quote_all_identifiers = off",
    "SET search_path = ''",
)
# The script of pg_restore sets that of the backup's database, and what we send and read is this.
ENCODING = "SET client_encoding = 'UTF8'"
SCHEMAS = (
    "SELECT jsonb_build_array(n.nspname, quote_ident(n.nspname)) FROM pg_namespace n"  # noqa: S608 - ours
    f" WHERE {OF_USERS} ORDER BY n.nspname"  # so does pg_dump
)
