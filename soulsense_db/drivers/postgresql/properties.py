"""What is of a database itself, and of nothing in it: how it is made, rights, limit, settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.postgresql.archive import Locale
from soulsense_db.drivers.postgresql.errors import NO_RIGHT, code_of, reason_of
from soulsense_db.drivers.postgresql.missing_rights import cannot_set_for_role
from soulsense_db.drivers.postgresql.statements import execute, literal, quoted

_PROPERTIES = """
    SELECT d.oid, pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS "collate",
        d.datctype AS ctype, to_jsonb(d)->>'datlocprovider' AS provider,
        coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale') AS locale,
        to_jsonb(d)->>'daticurules' AS rules,
        pg_get_userbyid(d.datdba) AS owner, t.spcname AS tablespace, d.datconnlimit,
        d.datistemplate
    FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace
    WHERE d.datname = :name
"""
# Settings whose value is a list of names, each of which is quoted when it is set; pg_dump has the
# same list (variable_is_guc_list_quote).
_LISTS_OF_NAMES = (
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
)
TABLESPACE_OF_TEMPLATE = "pg_default"


@dataclass(frozen=True, slots=True)
class Properties:
    """What is of a database itself, and of nothing in it."""

    oid: int
    locale: Locale
    owner: str
    tablespace: str
    limit: int
    is_template: bool


def properties(connection: Connection, name: str) -> Properties | None:
    """Return those of a database, None where there is none of that name."""
    row = connection.execute(sa.text(_PROPERTIES), {"name": name}).mappings().one_or_none()
    if row is None:
        return None
    return Properties(
        oid=row["oid"],
        locale=Locale(**{field: row[field] for field in Locale.__struct_fields__}),
        owner=row["owner"],
        tablespace=row["tablespace"],
        limit=row["datconnlimit"],
        is_template=row["datistemplate"],
    )


def like(connection: Connection, live: Properties | None, recorded: Locale) -> str:
    """Return how a database is made that has the encoding, locale, owner and place of ``live``.

    Where that is missing, those that were ``recorded`` with the backup.
    """
    locale = recorded if live is None else live.locale
    words = [
        "TEMPLATE template0",
        f"ENCODING {literal(connection, locale.encoding)}",
        f"LC_COLLATE {literal(connection, locale.collate)}",
        f"LC_CTYPE {literal(connection, locale.ctype)}",
    ]
    if live is not None:
        words.append(f"OWNER {quoted(live.owner)}")
        if live.tablespace != TABLESPACE_OF_TEMPLATE:  # saying it needs a right that few have
            words.append(f"TABLESPACE {quoted(live.tablespace)}")
    if locale.provider == "i":
        words += ["LOCALE_PROVIDER icu", f"ICU_LOCALE {literal(connection, locale.locale or '')}"]
        if locale.rules:
            words.append(f"ICU_RULES {literal(connection, locale.rules)}")
    elif locale.provider == "b":  # from 17 on
        words += [
            "LOCALE_PROVIDER builtin",
            f"BUILTIN_LOCALE {literal(connection, locale.locale or '')}",
        ]
    else:  # the server's default may be another
        words.append("LOCALE_PROVIDER libc")
    return " ".join(words)


@dataclass(frozen=True, slots=True)
class Belongings:
    """What a database has and no dump of its content.

    ``rights``: role, right, and whether it may be passed on; None where a database has those that
    any has. ``settings``: of the role or of all, their names and values. Roles stand as in a
    statement.
    """

    owner: str
    limit: int
    is_template: bool
    rights: tuple[tuple[str, str, bool], ...] | None
    settings: tuple[tuple[str | None, str, str], ...]


def belongings(connection: Connection, name: str) -> Belongings | None:
    """Return those of a database, None where there is none of that name."""
    found = properties(connection, name)
    if found is None:
        return None
    oid = {"oid": found.oid}
    has_rights = connection.scalar(_HAS_RIGHTS, oid)
    return Belongings(
        owner=found.owner,
        limit=found.limit,
        is_template=found.is_template,
        rights=_rights(connection, found.oid) if has_rights else None,
        settings=settings_of(connection, found.oid),
    )


def settings_of(connection: Connection, oid: int) -> tuple[tuple[str | None, str, str], ...]:
    """Return the settings of a database and of roles in it; of roles in all of them for 0."""
    found = connection.execute(_SETTINGS, {"oid": oid})
    return tuple((role, setting, value) for role, setting, value in found)


def copy_properties(maintenance: Connection, source: str, target: str) -> None:
    """Give ``target`` all that ``source`` has and no dump of its content has.

    Rights, limit, and settings, of the database and of a role in it.
    """
    found = belongings(maintenance, source)
    if found is not None:
        give(maintenance, found, target)


def give(maintenance: Connection, wanted: Belongings, target: str) -> None:
    """Give the database ``target`` what is ``wanted``, and take off what it has besides."""
    new = properties(maintenance, target)
    if new is None:
        return
    named = quoted(target)
    if new.owner != wanted.owner:
        execute(maintenance, f"ALTER DATABASE {named} OWNER TO {quoted(wanted.owner)}")
    execute(maintenance, f"ALTER DATABASE {named} WITH CONNECTION LIMIT {wanted.limit}")
    if new.is_template != wanted.is_template:
        execute(maintenance, f"ALTER DATABASE {named} IS_TEMPLATE {wanted.is_template}")
    _give_rights(maintenance, wanted, new, named)
    _clear_settings(maintenance, new, named)
    for role, setting, value in wanted.settings:
        whose = f"ROLE {role} IN DATABASE {named}" if role else f"DATABASE {named}"
        with _altering(role, named):
            set_for(maintenance, whose, setting, value)


_RIGHTS = sa.text(
    "SELECT coalesce(quote_ident(r.rolname), 'PUBLIC'), a.privilege_type, a.is_grantable"
    " FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a"
    " LEFT JOIN pg_roles r ON r.oid = a.grantee WHERE d.oid = :oid"
)
_HAS_RIGHTS = sa.text("SELECT datacl IS NOT NULL FROM pg_database WHERE oid = :oid")
_SETTINGS = sa.text(
    "SELECT quote_ident(r.rolname), split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)"
    " FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) AS c"
    " LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = :oid"
)


def _rights(connection: Connection, oid: int) -> tuple[tuple[str, str, bool], ...]:
    return tuple((who, what, more) for who, what, more in connection.execute(_RIGHTS, {"oid": oid}))


def _give_rights(maintenance: Connection, wanted: Belongings, new: Properties, named: str) -> None:
    had, rights = _rights(maintenance, new.oid), wanted.rights
    if rights is None:
        if not maintenance.scalar(_HAS_RIGHTS, {"oid": new.oid}):
            return  # both have what any database has
        rights = _usual_rights(maintenance, wanted.owner)
    whose = ", ".join(sorted({grantee for grantee, *_ in had} | {quoted(wanted.owner)}))
    # What one of them has passed on goes as well, and comes back as given by the owner.
    execute(maintenance, f"REVOKE ALL ON DATABASE {named} FROM {whose} CASCADE")
    for grantee, privilege, is_grantable in rights:
        option = " WITH GRANT OPTION" if is_grantable else ""
        execute(maintenance, f"GRANT {privilege} ON DATABASE {named} TO {grantee}{option}")


def _usual_rights(connection: Connection, owner: str) -> tuple[tuple[str, str, bool], ...]:
    """Return those of a database of ``owner`` that nobody has changed."""
    asked = sa.text(
        "SELECT coalesce(quote_ident(r.rolname), 'PUBLIC'), a.privilege_type, a.is_grantable"
        " FROM pg_roles o, aclexplode(acldefault('d', o.oid)) a"
        " LEFT JOIN pg_roles r ON r.oid = a.grantee WHERE o.rolname = :owner"
    )
    found = connection.execute(asked, {"owner": owner})
    return tuple((who, what, more) for who, what, more in found)


def _clear_settings(maintenance: Connection, new: Properties, named: str) -> None:
    """Take off what a database has that was kept: a new one has none."""
    roles = maintenance.scalars(
        sa.text(
            "SELECT quote_ident(r.rolname) FROM pg_db_role_setting s"
            " LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = :oid"
        ),
        {"oid": new.oid},
    ).all()
    for role in roles:
        whose = f"ROLE {role} IN DATABASE {named}" if role else f"DATABASE {named}"
        with _altering(role, named):
            execute(maintenance, f"ALTER {whose} RESET ALL")


@contextmanager
def _altering(role: str | None, database: str) -> Iterator[None]:
    """Say of a role that the user may not alter what its settings are in the way of."""
    try:
        yield
    except DBAPIError as error:
        if role is None or code_of(error) != NO_RIGHT:
            raise
        raise cannot_set_for_role(role, database, reason_of(error)) from error


def set_for(maintenance: Connection, whose: str, setting: str, value: str) -> None:
    """Give a role or database a setting, as the server keeps its value."""
    # Never by SET and FROM CURRENT: it would act on this very session, as read-only does.
    name = ".".join(quoted(part) for part in setting.split("."))
    values = _names_of(value) if setting in _LISTS_OF_NAMES else [value]
    written = ", ".join(literal(maintenance, one) for one in values)
    execute(maintenance, f"ALTER {whose} SET {name} TO {written or literal(maintenance, '')}")


def _names_of(value: str) -> list[str]:
    """Return the names in a list as the server keeps it: some of them in double quotes."""
    names, place = [], 0
    while place < len(value):
        if value[place] in ", ":
            place += 1
        elif value[place] == '"':
            name, place = "", place + 1
            while place < len(value):
                if value[place] == '"':
                    if value[place + 1 : place + 2] != '"':
                        break
                    place += 1
                name, place = name + value[place], place + 1
            names.append(name)
            place += 1
        else:
            end = place
            while end < len(value) and value[end] != ",":
                end += 1
            names.append(value[place:end].strip())
            place = end
    return names
