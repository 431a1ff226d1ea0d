"""What keeps every backup of a database from being restored: rights, and what is tied to it."""

from __future__ import annotations

import time

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from soulsense_db.drivers.postgresql.errors import tied_to
from soulsense_db.drivers.postgresql.inventory import DUMPED
from soulsense_db.drivers.postgresql.login import Login
from soulsense_db.drivers.postgresql.missing_rights import (
    cannot_be_copied,
    not_member,
    others_connected,
    owned_by_superuser,
    owner_may_not_create,
    superusers_connected,
)
from soulsense_db.drivers.postgresql.properties import TABLESPACE_OF_TEMPLATE, belongings, give
from soulsense_db.drivers.postgresql.schema_rights import OWNED, Lack, require_replaceable
from soulsense_db.drivers.postgresql.statements import NOT_OF_USERS, quoted
from soulsense_db.drivers.server_errors import missing_right

# What keeps a database from being renamed or dropped, or would go with it; and what ends it.
_TIED = (
    (
        "SELECT gid FROM pg_prepared_xacts WHERE database = :live",
        "a prepared transaction",
        "COMMIT PREPARED or ROLLBACK PREPARED",
    ),
    (
        "SELECT s.subname FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid"
        " WHERE d.datname = :live",
        "a subscription",
        "DROP SUBSCRIPTION",
    ),
    (
        "SELECT slot_name FROM pg_replication_slots WHERE database = :live AND NOT temporary",
        "a logical replication slot",
        "pg_drop_replication_slot",
    ),
)
_MAY_NOT_CREATE = sa.text(
    "SELECT quote_ident(rolname), session_user FROM pg_roles"
    " WHERE rolname = current_user AND NOT rolsuper AND NOT rolcreatedb"
)
_RIGHTS = sa.text(
    "SELECT r.rolsuper OR r.rolcreatedb, r.rolsuper OR pg_has_role(d.datdba, 'USAGE'),"
    " quote_ident(current_user), quote_ident(d.datname), quote_ident(o.rolname), o.rolsuper"
    " FROM pg_roles r, pg_database d JOIN pg_roles o ON o.oid = d.datdba"
    " WHERE r.rolname = current_user AND d.datname = current_database()"
)

_USER = sa.text("SELECT quote_ident(rolname), rolsuper FROM pg_roles WHERE rolname = current_user")
# Our own session is whose login it was, whatever role that takes on.
_OTHERS = sa.text("""
    SELECT DISTINCT quote_ident(r.rolname) FROM pg_stat_activity a
    JOIN pg_roles r ON r.oid = a.usesysid
    WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND NOT r.rolsuper
    AND NOT pg_has_role(r.oid, 'USAGE') AND NOT pg_has_role('pg_signal_backend', 'USAGE')
""")
_SUPERUSERS = sa.text(
    "SELECT quote_ident(r.rolname), a.pid FROM pg_stat_activity a"
    " JOIN pg_roles r ON r.oid = a.usesysid"
    " WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND r.rolsuper"
    " ORDER BY a.pid"
)
_GUEST_SECONDS = 1.0
_LOOK_SECONDS = 0.05
# Rows of a partitioned table are those of its partitions, whose own policies pg_dump meets.
_UNREADABLE = sa.text(f"""
    SELECT c.oid::regclass::text, quote_ident(current_user),
        has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE {DUMPED} AND c.relpersistence <> 't' AND (
        c.relkind IN ('r', 'p', 'S') AND NOT (has_schema_privilege(n.oid, 'USAGE')
            AND has_table_privilege(c.oid, 'SELECT'))
        OR c.relkind = 'r' AND c.relrowsecurity AND row_security_active(c.oid))
    ORDER BY n.nspname, c.relname LIMIT 1
""")  # noqa: S608 - a constant
# That of the database itself is said where another one is made, and not for what is in it.
_SPACES = sa.text(f"""
    SELECT quote_ident(t.spcname), quote_ident(current_user) FROM pg_tablespace t
    WHERE NOT has_tablespace_privilege(t.oid, 'CREATE') AND (EXISTS (SELECT FROM pg_class c
            JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.reltablespace = t.oid AND {DUMPED})
        OR :makes AND t.spcname <> '{TABLESPACE_OF_TEMPLATE}' AND t.oid = (SELECT dattablespace
            FROM pg_database WHERE datname = current_database()))
    ORDER BY t.spcname
""")  # noqa: S608 - a constant
_OWNED_TOO = "".join(
    f"UNION ALL SELECT '{catalog}'::regclass, o.oid,"  # noqa: S608 - of a table of ours
    f" (pg_identify_object('{catalog}'::regclass, o.oid, 0)).identity, o.{schema}, o.{owner}"
    f" FROM {catalog} o\n        "
    for _, catalog, schema, owner in OWNED
)
# In a new database, public is of who owns the database. What is a part of something else, as the
# functions of a range type are, comes with it.
_OWNERS = sa.text(f"""
    WITH objects (class, object, name, schema, owner) AS (
        SELECT 'pg_class'::regclass, oid, quote_ident(relname), relnamespace, relowner
        FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
        UNION ALL SELECT 'pg_proc'::regclass, oid, quote_ident(proname), pronamespace, proowner
        FROM pg_proc
        UNION ALL SELECT 'pg_type'::regclass, oid, quote_ident(typname), typnamespace, typowner
        FROM pg_type WHERE typtype IN ('d', 'e', 'r')
        {_OWNED_TOO}
    ), owners (role, thing, schema, schema_owner) AS (
        SELECT o.owner, o.name, n.nspname, CASE WHEN n.nspname = 'public'
            THEN (SELECT datdba FROM pg_database WHERE datname = current_database())
            ELSE n.nspowner END
        FROM objects o JOIN pg_namespace n ON n.oid = o.schema
        WHERE NOT EXISTS (SELECT FROM pg_depend p WHERE p.classid = o.class
            AND p.objid = o.object AND p.deptype IN ('e', 'i'))
        UNION ALL SELECT pubowner, pubname, '', pubowner FROM pg_publication
        UNION ALL SELECT lomowner, 'large object ' || min(oid), '', lomowner
        FROM pg_largeobject_metadata GROUP BY lomowner
        UNION ALL SELECT defaclrole, 'default privileges', '', defaclrole FROM pg_default_acl
        UNION ALL SELECT nspowner, quote_ident(nspname), nspname, nspowner FROM pg_namespace n
        WHERE nspname <> 'public' AND NOT EXISTS (SELECT FROM pg_depend p
            WHERE p.classid = 'pg_namespace'::regclass AND p.objid = n.oid AND p.deptype = 'e')
    )
    SELECT DISTINCT ON (o.role, o.schema) quote_ident(r.rolname) AS owner, o.thing,
        quote_ident(o.schema) AS schema, pg_has_role(o.role, 'MEMBER') AS is_member,
        r.rolsuper AS is_super,
        o.role = (SELECT oid FROM pg_roles WHERE rolname = current_user)
            OR pg_has_role(o.role, o.schema_owner, 'USAGE') AS may_create
    FROM owners o JOIN pg_roles r ON r.oid = o.role
    WHERE o.schema !~ '{NOT_OF_USERS}' AND o.schema <> 'information_schema'
    ORDER BY o.role, o.schema, o.thing
""")  # noqa: S608 - a constant


def to_swap_databases(connection: Connection) -> list[Lack]:
    """Return what the user lacks to make databases, and to rename this one."""
    may_create, owns, user, database, owner, is_super = connection.execute(_RIGHTS).one()
    lacks = []
    if not may_create:
        lacks.append(Lack("the right to create databases", f"ALTER ROLE {user} CREATEDB;"))
    if not owns:
        # Never a membership in a role that may do everything. Of another one it leaves the
        # database to whom it belongs, as the application goes on to expect.
        statement = (
            f"ALTER DATABASE {database} OWNER TO {user};"
            if is_super
            else f"GRANT {owner} TO {user};"
        )
        lacks.append(Lack("the ownership of the database", statement))
    return lacks


def swaps_databases(connection: Connection, *, name: str) -> bool:
    """Whether the user may make databases and rename this one; else he may replace its schemas.

    Raises :class:`~soulsense_db.errors.MissingRightError` for one who may do neither.
    """
    lacks = to_swap_databases(connection)
    if not lacks:
        return True
    require_replaceable(connection, name=name, otherwise=lacks)
    return False


def who_may_not_create(login: Login, *, name: str) -> tuple[str, str] | None:
    """Return who may not make databases, None for who may.

    The first is the role as a statement names it, the second who has logged in.
    """
    with login.maintenance(name=name) as connection:
        found = connection.execute(_MAY_NOT_CREATE).one_or_none()
        return None if found is None else (str(found[0]), str(found[1]))


def require_owners(connection: Connection, *, name: str) -> None:
    """Raise for objects that the user may not give their owners, as a restore does.

    The owner of an object must be allowed to create it in its schema, whose rights come last in an
    archive. Source: ``ALTER TABLE`` in PostgreSQL's documentation.
    """
    user, is_super = connection.execute(_USER).one()
    if is_super:
        return
    owned = connection.execute(_OWNERS).all()
    lacking = [one for one in owned if not one.is_member]
    for one in lacking:
        if one.is_super:
            raise owned_by_superuser(name, one.owner, one.thing)
    if lacking:
        raise not_member(name, sorted({one.owner for one in lacking}), user)
    for one in owned:
        if not one.may_create:
            raise owner_may_not_create(name, one.owner, one.thing, one.schema)


def require_copyable(connection: Connection, *, name: str) -> None:
    """Raise where the user may not read all that a restore replaces.

    It would be in no safety backup, and without that there is no undo, and no other restore.
    """
    found = connection.execute(_UNREADABLE).one_or_none()
    if found is not None:
        table, user, may_read = found
        raise cannot_be_copied(name, table, user, is_hidden=bool(may_read))


def require_tablespaces(connection: Connection, *, name: str, makes_database: bool) -> None:
    """Raise where the user may not make again what is in a tablespace, or the database in its."""
    found = connection.execute(_SPACES, {"makes": makes_database}).all()
    if found:
        spaces = ", ".join(str(space) for space, _ in found)
        raise missing_right(
            name,
            f"it has something in tablespace {spaces}",
            statement=f"GRANT CREATE ON TABLESPACE {spaces} TO {found[0][1]};",
        )


def require_ending(connection: Connection, *, name: str) -> None:
    """Raise where others are connected whose sessions the user may not end.

    Those of superusers only they may end: that is no right to be given. A program that looks after
    the server may be gone in a moment.
    """
    user, is_super = connection.execute(_USER).one()
    if is_super:
        return
    if found := connection.scalars(_OTHERS).all():
        raise others_connected(name, sorted(found), user)
    deadline = time.monotonic() + _GUEST_SECONDS
    while guests := connection.execute(_SUPERUSERS).all():
        if time.monotonic() > deadline:
            raise superusers_connected(name, [str(role) for role, _ in guests], guests[0].pid)
        time.sleep(_LOOK_SECONDS)  # the server tells nobody that a session has ended


def require_maintenance(login: Login, *, name: str) -> None:
    """Raise where the user may log in to the live database alone: locks are taken beside it."""
    with login.maintenance(name=name, own_session=False):
        pass


def require_making(login: Login, *, name: str) -> None:
    """Raise where the live database is missing, and the user may not make it."""
    if found := who_may_not_create(login, name=name):
        user, _ = found
        raise missing_right(
            name,
            "it is missing, and a restore has to make it",
            statement=f"ALTER ROLE {user} CREATEDB;   Or make it, empty: "
            f"CREATE DATABASE {quoted(login.database)} OWNER {user};",
        )


def require_movable(login: Login, *, name: str) -> None:
    """Raise for a database to which something is tied that another one cannot take over."""
    with login.maintenance(name=name) as connection:
        for query, what, statement in _TIED:
            tied = connection.scalars(sa.text(query), {"live": login.database}).all()
            if tied:
                raise tied_to(name, what, [str(one) for one in tied], statement)


def require_givable(login: Login, *, name: str) -> None:
    """Raise unless the user may give another database the settings and rights of the live one.

    Somebody else may have given them. It is tried on the live one, and taken back.
    """
    with login.maintenance(name=name, autocommit=False) as maintenance:
        found = belongings(maintenance, login.database)
        try:
            if found is not None:
                give(maintenance, found, login.database)
        finally:
            maintenance.rollback()
