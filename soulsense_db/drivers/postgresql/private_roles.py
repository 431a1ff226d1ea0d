"""The roles of a private server: those of the live one, none of which can log in but one.

Objects belong to them, policies and rights name them, and migrations may as well. Of tablespaces it
is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from soulsense_db.drivers.postgresql.properties import set_for, settings_of
from soulsense_db.drivers.postgresql.statements import execute, literal, quoted

_FIRST = 10  # the number of the user of initdb, in every server: BOOTSTRAP_SUPERUSERID
_ATTRIBUTES = {
    "rolsuper": "SUPERUSER",
    "rolinherit": "INHERIT",
    "rolcreaterole": "CREATEROLE",
    "rolcreatedb": "CREATEDB",
    "rolreplication": "REPLICATION",
    "rolbypassrls": "BYPASSRLS",
}
_ROLES = sa.text("SELECT * FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY oid")
# From 16 on, one may be a member by several grants.
_MEMBERS = sa.text("""
    SELECT r.rolname, m.rolname, bool_or(a.admin_option),
        bool_or((to_jsonb(a)->>'inherit_option')::bool), bool_or((to_jsonb(a)->>'set_option')::bool)
    FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
    WHERE m.rolname !~ '^pg_' GROUP BY 1, 2 ORDER BY 1, 2
""")
_SPACES = sa.text("""
    SELECT s.spcname, pg_get_userbyid(s.spcowner), coalesce(array_agg(a.said), '{}')
    FROM pg_tablespace s LEFT JOIN LATERAL (
        SELECT coalesce(quote_ident(r.rolname), 'PUBLIC')
            || CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END AS said
        FROM aclexplode(s.spcacl) x LEFT JOIN pg_roles r ON r.oid = x.grantee
    ) a ON true WHERE s.spcname !~ '^pg_' GROUP BY 1, 2
""")


@dataclass(frozen=True, slots=True)
class Member:
    """Who is a member of ``role``; the last two are known from version 16 on."""

    role: str
    member: str
    administers: bool
    inherits: bool | None
    becomes: bool | None

    @property
    def statement(self) -> str:
        """What makes it so."""
        options = [f"ADMIN {self.administers}"]
        if self.inherits is not None:
            options += [f"INHERIT {self.inherits}", f"SET {self.becomes}"]
        elif not self.administers:
            options = []
        said = f" WITH {', '.join(options)}" if options else ""
        if self.inherits is None:
            said = said.replace(" True", " OPTION")
        return f"GRANT {quoted(self.role)} TO {quoted(self.member)}{said}"


@dataclass(frozen=True, slots=True)
class Roles:
    """``user``: whom the application logs in as; ``first``: whom the server belongs to.

    ``attributes``: of each role, as in a statement; ``settings``: of the user and of all roles.
    ``spaces``: the tablespaces, each with its owner and whom it is granted to.
    """

    user: str
    first: str
    attributes: tuple[tuple[str, str], ...]
    members: tuple[Member, ...]
    settings: tuple[tuple[str | None, str, str], ...]
    spaces: tuple[tuple[str, str, tuple[str, ...]], ...]


def read(connection: Connection) -> Roles:
    """Return the roles of the live server, which anybody may see there."""
    rows = connection.execute(_ROLES).mappings().all()
    user = str(connection.scalar(sa.text("SELECT session_user")))
    ours = connection.scalar(sa.text("SELECT quote_ident(:user)"), {"user": user})
    return Roles(
        user=user,
        first=next(row["rolname"] for row in rows if row["oid"] == _FIRST),
        attributes=tuple(
            (row["rolname"], _attributes(row)) for row in rows if row["oid"] != _FIRST
        ),
        members=tuple(Member(*row) for row in connection.execute(_MEMBERS)),
        settings=tuple(one for one in settings_of(connection, 0) if one[0] in (None, ours)),
        spaces=tuple(
            (name, owner, tuple(filter(None, granted)))
            for name, owner, granted in connection.execute(_SPACES)
        ),
    )


def _attributes(row: sa.RowMapping) -> str:
    return " ".join(word if row[column] else f"NO{word}" for column, word in _ATTRIBUTES.items())


def make(
    connection: Connection, wanted: Roles, *, password: str, new_space: Callable[[], Path]
) -> None:
    """Make the roles and tablespaces; the user has a password, and all others do not log in."""
    for name, attributes in wanted.attributes:
        login = f"LOGIN PASSWORD {literal(connection, password)}" if name == wanted.user else ""
        execute(connection, f"CREATE ROLE {quoted(name)} {attributes} {login or 'NOLOGIN'}")
    for one in wanted.members:
        execute(connection, one.statement)
    for name, owner, granted in wanted.spaces:
        place = literal(connection, str(new_space()))
        execute(
            connection, f"CREATE TABLESPACE {quoted(name)} OWNER {quoted(owner)} LOCATION {place}"
        )
        for whom in granted:
            execute(connection, f"GRANT CREATE ON TABLESPACE {quoted(name)} TO {whom}")


def give_settings(connection: Connection, wanted: Roles) -> None:
    """Give the user, and all roles, the settings that they have in every database."""
    for role, setting, value in wanted.settings:
        set_for(connection, f"ROLE {role or 'ALL'}", setting, value)
