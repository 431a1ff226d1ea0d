"""What a user may not do, with the statements that allow it, as errors of the tree."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from soulsense_db.drivers.postgresql.statements import quoted_if_needed
from soulsense_db.drivers.server_errors import missing_right
from soulsense_db.errors import MissingRightError, Remedy


def no_right(name: str, reason: str, user: str = "") -> MissingRightError:
    """Return the error for what the server denies, with the statement that allows it, if known."""
    for pattern, statement in _ALLOWED_BY:
        if match := pattern.search(reason):
            made = statement.format(*map(quoted_if_needed, match.groups()))
            return missing_right(name, reason, statement=made.replace(_USER, user or _USER))
    return missing_right(name, reason)


@contextmanager
def naming_user(user: Callable[[], str]) -> Iterator[None]:
    """Write the name of the ``user`` into statements that would give him a missing right."""
    try:
        yield
    except MissingRightError as error:
        if _PLACE.search(error.hint):
            named = user()
            error.remedy = Remedy(_PLACE.sub(lambda found: found[1] + named, error.hint))
        raise


_USER = "..."
_PLACE = re.compile(r"\b((?:TO|ROLE) )\.\.\.")  # other hints have such dots elsewhere
_READS = f"GRANT pg_read_all_data TO {_USER};"
# Never a membership in a role that may do everything: postgres is one.
_ROLE = '"((?!postgres")[^"]+)"'
_ALLOWED_BY = (
    (re.compile("create database"), f"ALTER ROLE {_USER} CREATEDB;"),
    (
        re.compile('permission denied for database "([^"]+)"'),
        f"GRANT CONNECT ON DATABASE {{}} TO {_USER};",
    ),
    (
        re.compile("permission denied for tablespace (\\S+)"),
        f"GRANT CREATE ON TABLESPACE {{}} TO {_USER};",
    ),
    (
        re.compile('permission denied to set parameter "([^"]+)"'),
        f"GRANT SET ON PARAMETER {{}} TO {_USER};",
    ),
    (
        re.compile("role whose process is being terminated|to terminate process"),
        f"GRANT pg_signal_backend TO {_USER};",
    ),
    (re.compile("affected by row-level security policy"), f"ALTER ROLE {_USER} BYPASSRLS;"),
    (re.compile("permission denied for table"), _READS),
    (re.compile("permission denied for schema"), _READS),
    # Who gives something to a role has to be a member of it.
    (
        re.compile(f"must be (?:member of role|able to SET ROLE) {_ROLE}"),
        f"GRANT {{}} TO {_USER};",
    ),
)


def others_connected(name: str, who: Sequence[str], user: str) -> MissingRightError:
    """Return the error for sessions of others, which a restore has to end. Names as quoted."""
    return missing_right(
        name,
        f"a restore ends the sessions of others: {', '.join(who)}",
        statement=f"GRANT pg_signal_backend TO {user};",
    )


def superusers_connected(name: str, who: Sequence[str], process: int) -> MissingRightError:
    """Return the error for sessions of superusers; ``process``: of the first. Names as quoted."""
    sessions = f"{', '.join(who)} (process {process}{' and others' * (len(who) > 1)})"
    reason = f"a restore ends all sessions, and only a superuser may end those of {sessions}"
    return MissingRightError(
        f"A right is missing on {name}: {reason}.",
        hint="Close these sessions, or have an administrator end them with "
        f"pg_terminate_backend({process}), and try again.",
        reason=reason,
    )


def not_member(name: str, owners: Sequence[str], user: str) -> MissingRightError:
    """Return the error for objects of roles that the user is no member of. Names as quoted."""
    return missing_right(
        name,
        f"what others own is restored as theirs: {', '.join(owners)}",
        statement=" ".join(f"GRANT {one} TO {user};" for one in owners),
    )


def cannot_be_copied(name: str, table: str, user: str, *, is_hidden: bool) -> MissingRightError:
    """Return the error for what a restore replaces and the user may not read. Names as quoted.

    ``is_hidden``: policies hide rows of the table from him.
    """
    denied = f"policies hide rows of {table}" if is_hidden else f"{user} may not read {table}"
    reason = f"{denied}, and what a restore replaces has to be in the safety backup"
    right = f"ALTER ROLE {user} BYPASSRLS;" if is_hidden else f"GRANT pg_read_all_data TO {user};"
    hint = f"As an administrator: {right}"
    if is_hidden:
        hint += f"   Or, as its owner: ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY;"
    return MissingRightError(f"A right is missing on {name} ({reason}).", hint=hint, reason=reason)


def owned_by_superuser(name: str, owner: str, thing: str) -> MissingRightError:
    """Return the error for an object that only a superuser can give its owner. Names as quoted.

    Nobody is made a member of a role that may do everything.
    """
    reason = f"{owner} owns {thing}, and is a superuser"
    return MissingRightError(
        f"A right is missing on {name} ({reason}).",
        hint="Restore as a superuser, or give it another owner, as with ALTER ... OWNER TO.",
        reason=reason,
    )


def owner_may_not_create(name: str, owner: str, thing: str, schema: str) -> MissingRightError:
    """Return the error for an object that only a superuser can give its owner. Names as quoted."""
    reason = f"{owner} owns {thing}, and may not create anything in the schema {schema}"
    return MissingRightError(
        f"A right is missing on {name} ({reason}, whose own rights are restored last).",
        hint=f"Restore as a superuser, or give what it owns to the owner of {schema}, as with "
        "REASSIGN OWNED BY.",
        reason=reason,
    )


def cannot_be_replaced(name: str, what: str, statements: str, drop: str = "") -> MissingRightError:
    """Return the error for what is in no schema, where the user may replace schemas alone.

    ``statements``: those that let him replace the database; ``drop``: that which takes it out of
    the live one, as a migration may have put it there.
    """
    reason = f"it has {what}, which is in no schema, and the user may replace schemas alone"
    hint = f"As an administrator: {statements}"
    if drop:
        hint = (
            f"If a migration made it and it may go, as its owner: {drop}   Or, as an "
            f"administrator: {statements}   Then try again."
        )
    return MissingRightError(f"A right is missing on {name} ({reason}).", hint=hint, reason=reason)


def cannot_set_for_role(role: str, database: str, reason: str) -> MissingRightError:
    """Return the error for settings of a role in the database, which an administrator gave.

    Names as in a statement.
    """
    return MissingRightError(
        f"A right is missing ({reason}): role {role} has settings in {database}, and a restored "
        "database would have to get them.",
        hint=f"As an administrator: ALTER ROLE {role} IN DATABASE {database} RESET ALL;   "
        "Or restore as a user who may alter that role.",
        reason=reason,
    )


def cannot_restore(
    name: str, *, needs: str, statements: str, needs_within: str, statements_within: str
) -> MissingRightError:
    """Return the error for a user who may restore in neither way: what each of them needs."""
    reason = f"restoring needs {needs}; a restore within the database needs {needs_within}"
    return MissingRightError(
        f"A right is missing on {name} ({reason}).",
        hint=f"As an administrator: {statements}   Or, to restore within the database: "
        f"{statements_within}",
        reason=reason,
    )
