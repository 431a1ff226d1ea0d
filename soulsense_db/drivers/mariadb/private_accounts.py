"""The users of a private server: the one of the application, with its rights, and definers.

What is made without a definer gets the user as one. So it must be the live one, or become it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.mariadb import inventory, programs
from soulsense_db.drivers.mariadb.archive import Description
from soulsense_db.drivers.mariadb.private_errors import other_settings
from soulsense_db.drivers.mariadb.private_server import Account
from soulsense_db.drivers.mariadb.shown import shown
from soulsense_db.drivers.mariadb.statements import (
    execute,
    literal,
    pattern_of,
    quoted,
    rows,
    scalar,
)
from soulsense_db.notices import log_ignored

_GRANT = re.compile(r"^GRANT (?P<rights>.+?) ON (?P<what>\S.*?) TO (?P<rest>.*)$", re.DOTALL)
_DEFINER = re.compile(r"\bDEFINER=`((?:[^`]|``)*)`(?:@`((?:[^`]|``)*)`)?")
_LOCAL = "localhost"
_NEVER = ("PROXY",)


@dataclass(frozen=True, slots=True)
class LiveUser:
    """Who the application is on the live server, and what it may do there."""

    user: str
    host: str
    grants: tuple[str, ...]
    others: tuple[tuple[str, str], ...]

    @property
    def local_host(self) -> str:
        """The host of its account on a private server, whose connections are of this machine."""
        pattern = "".join(
            {"%": ".*", "_": "."}.get(one, re.escape(one)) for one in self.host or "%"
        )
        return self.host if re.fullmatch(pattern, _LOCAL, re.IGNORECASE) else _LOCAL


def read(connection: Connection) -> LiveUser:
    """Return who asks; and the names of other accounts, where these may be seen."""
    user, _, host = str(scalar(connection, "SELECT CURRENT_USER()")).rpartition("@")
    try:
        others = tuple(
            (str(name), str(place))
            for name, place in rows(
                connection, "SELECT User, Host FROM mysql.user WHERE User <> '' AND Host <> ''"
            )
        )
    except DBAPIError as error:
        log_ignored("Other accounts are not known", error)
        others = ()
    return LiveUser(
        user=user,
        host=host,
        grants=tuple(str(one) for (one,) in rows(connection, "SHOW GRANTS")),
        others=others,
    )


def make(connection: Connection, live: LiveUser, described: Description, schema: str) -> Account:
    """Make the accounts, before there are tables; return that of the application."""
    definers = set(_definers(described))
    if live.local_host != live.host and (live.user, live.local_host) in definers:
        # What that one has made, and what the application makes, could not be told apart.
        raise other_settings(schema, [f"the accounts of {live.user}"])
    account = Account.new(live.user)
    who = f"{quoted(live.user)}@{quoted(live.local_host)}"
    execute(connection, f"CREATE USER {who} {account.identified}")
    # It may be a definer of what is to be made: its own rights come afterwards.
    execute(connection, f"GRANT ALL PRIVILEGES ON {pattern_of(schema)}.* TO {who}")
    for user, host in sorted({*definers, *live.others}):
        if (user, host) in ((live.user, live.local_host), ("mariadb.sys", _LOCAL)):
            continue
        nobody = Account.new(user)
        if host:
            # Of the same name, it would be taken for the application's.
            if user == live.user and (user, host) not in definers:
                continue
            made = f"{quoted(user)}@{quoted(host)}"
            execute(connection, f"CREATE USER {made} {nobody.identified} ACCOUNT LOCK")
        else:
            made = quoted(user)
            execute(connection, f"CREATE ROLE {made}")
        if (user, host) in definers:
            execute(connection, f"GRANT ALL PRIVILEGES ON {pattern_of(schema)}.* TO {made}")
    return account


def give_rights(connection: Connection, live: LiveUser) -> None:
    """Give the application's account what it has on the live server, once there are tables."""
    who = f"{quoted(live.user)}@{quoted(live.local_host)}"
    execute(connection, f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM {who}")
    for said in live.grants:
        match = _GRANT.match(said)
        if match is None or match["rights"] in _NEVER:
            continue
        option = " WITH GRANT OPTION" if match["rest"].endswith("WITH GRANT OPTION") else ""
        try:
            execute(connection, f"GRANT {match['rights']} ON {match['what']} TO {who}{option}")
        except DBAPIError as error:  # on tables of other databases, which are not there
            log_ignored(f"A right on {match['what']} is not given", error)


def name_real_definers(connection: Connection, live: LiveUser, schema: str) -> None:
    """Let what was made by the application's account have it as the live server knows it."""
    if live.local_host == live.host:
        return
    here = literal(schema)
    before = f"{live.user}@{live.local_host}"
    after = f"{live.user}@{live.host}"
    for table, column in (("proc", "db"), ("event", "db")):
        execute(
            connection,
            f"UPDATE mysql.{table} SET definer = {literal(after)}"
            f" WHERE {column} = {here} AND definer = {literal(before)}",
        )
    _make_definer(connection, live)
    views = rows(
        connection,
        "SELECT TABLE_NAME FROM information_schema.VIEWS"
        f" WHERE TABLE_SCHEMA = {here} AND DEFINER = {literal(before)}",
    )
    execute(connection, f"USE {quoted(schema)}")
    was, now = (
        f"DEFINER={quoted(live.user)}@{quoted(host)} " for host in (live.local_host, live.host)
    )
    things = [("VIEW", str(view)) for (view,) in views]
    for row in shown(connection, schema, things, errors="surrogateescape"):
        assert row is not None
        text = str(row[1]).replace(was, now, 1).replace("CREATE ", "CREATE OR REPLACE ", 1)
        programs.execute_bytes(connection, text.encode(errors="surrogateescape"))
    triggers = inventory.take_triggers(connection, schema)
    tables = {one.table for one in triggers if one.definer == before}
    again = [one for one in triggers if one.table in tables]
    programs.drop_triggers(connection, again, schema)
    programs.create_triggers(connection, _renamed(again, before, after), schema)


def _renamed(
    triggers: Sequence[inventory.Trigger], before: str, after: str
) -> Iterator[inventory.Trigger]:
    import msgspec

    for one in triggers:
        definer = after if one.definer == before else one.definer
        yield msgspec.structs.replace(one, definer=definer)


def _make_definer(connection: Connection, live: LiveUser) -> None:
    who = f"{quoted(live.user)}@{quoted(live.host)}"
    nobody = Account.new(live.user)
    execute(connection, f"CREATE USER IF NOT EXISTS {who} {nobody.identified} ACCOUNT LOCK")
    execute(connection, f"GRANT ALL PRIVILEGES ON *.* TO {who}")


def _definers(described: Description) -> Iterator[tuple[str, str]]:
    """Yield user and host of all definers; of roles, which have none, the name."""
    texts: Iterable[str] = (
        *(item.statement for item in described.items if item.kind != "TRIGGER"),
        *(trigger.statement for trigger in described.triggers),
    )
    for text in texts:
        for user, host in _DEFINER.findall(text):
            yield user.replace("``", "`"), host.replace("``", "`")
