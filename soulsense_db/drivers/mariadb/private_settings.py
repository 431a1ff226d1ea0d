"""What a private server has to have of the live one, so that statements mean the same there.

It is set, and compared once it was: what cannot be had is refused.
"""

from __future__ import annotations

import datetime
import subprocess
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from soulsense_db.drivers.mariadb.errors import code_of
from soulsense_db.drivers.mariadb.login import Login, environment
from soulsense_db.drivers.mariadb.private_errors import other_settings
from soulsense_db.drivers.mariadb.server_tools import ServerTools
from soulsense_db.drivers.mariadb.statements import execute, literal, rows, scalar
from soulsense_db.drivers.mariadb.tools import Tools

# Of which a server's data is made, or which it only takes when it starts.
_AT_START = (
    "character_set_server",
    "collation_server",
    "explicit_defaults_for_timestamp",
    "ft_max_word_len",
    "ft_min_word_len",
    "innodb_autoinc_lock_mode",
    "innodb_ft_max_token_size",
    "innodb_ft_min_token_size",
    "innodb_page_size",
    "lower_case_table_names",
    "max_allowed_packet",
)
_LATER = (
    "alter_algorithm",
    "auto_increment_increment",
    "auto_increment_offset",
    "character_set_client",
    "character_set_collations",
    "character_set_connection",
    "character_set_filesystem",
    "character_set_results",
    "check_constraint_checks",
    "collation_connection",
    "completion_type",
    "default_regex_flags",
    "default_storage_engine",
    "default_week_format",
    "div_precision_increment",
    "enforce_storage_engine",
    "foreign_key_checks",
    "group_concat_max_len",
    "init_connect",
    "innodb_compression_default",
    "innodb_default_row_format",
    "innodb_ft_enable_stopword",
    "innodb_strict_mode",
    "lc_time_names",
    "max_recursive_iterations",
    "max_sort_length",
    "max_sp_recursion_depth",
    "max_statement_time",
    "old_mode",
    "sql_auto_is_null",
    "sql_if_exists",
    "sql_mode",
    "sql_safe_updates",
    "sql_select_limit",
    "system_versioning_alter_history",
    "transaction_isolation",
    "transaction_read_only",
    "tx_isolation",
    "tx_read_only",
    "unique_checks",
    "updatable_views_with_limit",
)
_READ_ONLY, _UNKNOWN = 1238, 1193
_SYSTEM = "SYSTEM"
# Noon in winter and in summer, so that a zone is known by what it was in each year.
_MOMENTS = [
    datetime.datetime(year, month, 15, 12) for year in range(1971, 2037) for month in (1, 7)
]
_EPOCH = datetime.datetime(1970, 1, 1)
_NAMED = "SELECT CONVERT_TZ('2000-06-01 12:00:00', 'UTC', 'Europe/Berlin') IS NOT NULL"
_ZONES = ("/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/var/db/timezone/zoneinfo")
_ZONE_PROGRAMS = ("mariadb-tzinfo-to-sql", "mysql_tzinfo_to_sql")


@dataclass(frozen=True, slots=True)
class Settings:
    """Those of a server: ``at_start`` and ``later`` by name; ``zone``: the one it has by default.

    ``offsets``: what that zone is at several moments, in seconds; ``has_zones``: whether it knows
    zones by their names.
    """

    at_start: Mapping[str, str]
    later: Mapping[str, str]
    zone: str
    offsets: tuple[int, ...]
    has_zones: bool

    @property
    def options(self) -> dict[str, str]:
        """What an option file has of them."""
        found = {name.replace("_", "-"): value for name, value in self.at_start.items()}
        return found | {"default-time-zone": self._fixed} if self._fixed else found

    @property
    def _fixed(self) -> str:
        """The zone, where it is the same at each moment; empty where it is not."""
        if self.zone != _SYSTEM or len(set(self.offsets)) > 1:
            return ""
        minutes = abs(self.offsets[0]) // 60
        sign = "-" if self.offsets[0] < 0 else "+"
        return f"{sign}{minutes // 60:02}:{minutes % 60:02}"

    @property
    def variables(self) -> dict[str, str]:
        """What a server's environment has of them: a zone of this machine that is the same."""
        if self.zone != _SYSTEM or self._fixed:
            return {}
        for name in sorted(zoneinfo.available_timezones()):
            if "/" in name and _offsets_of(name) == self.offsets:
                return {"TZ": name}
        return {}  # what comes of it is looked at


def read(connection: Connection) -> Settings:
    """Return the settings of a server."""
    found = {str(name): str(value) for name, value in rows(connection, "SHOW GLOBAL VARIABLES")}
    asked = ", ".join(f"UNIX_TIMESTAMP({literal(str(moment))})" for moment in _MOMENTS)
    execute(connection, "SET time_zone = @@GLOBAL.time_zone")
    seconds = rows(connection, f"SELECT {asked}")[0]
    execute(connection, "SET time_zone = '+00:00'")
    return Settings(
        at_start={name: found[name] for name in _AT_START if name in found},
        later={name: found[name] for name in _LATER if name in found},
        zone=found["time_zone"],
        offsets=tuple(
            int((moment - _EPOCH).total_seconds()) - int(second)
            for moment, second in zip(_MOMENTS, seconds, strict=True)
        ),
        has_zones=bool(scalar(connection, _NAMED)),
    )


def _offsets_of(zone: str) -> tuple[int, ...]:
    known = zoneinfo.ZoneInfo(zone)
    found = (moment.replace(tzinfo=known).utcoffset() for moment in _MOMENTS)
    return tuple(int(one.total_seconds()) for one in found if one is not None)


def give(
    connection: Connection,
    wanted: Settings,
    *,
    login: Login,
    tools: Tools,
    server: ServerTools,
    name: str,
) -> None:
    """Set what is ``wanted`` on a private server, and raise where it is not so afterwards."""
    if wanted.has_zones:
        _load_zones(login, tools, server)
    if wanted.zone != _SYSTEM:
        execute(connection, f"SET GLOBAL time_zone = {literal(wanted.zone)}")
    for setting, value in wanted.later.items():
        is_number = value.replace(".", "", 1).isdigit()
        written = value if is_number else literal(value)
        if value == "" and setting == "enforce_storage_engine":
            written = "NULL"
        try:
            execute(connection, f"SET GLOBAL {setting} = {written}")
        except DBAPIError as error:
            if code_of(error) not in (_READ_ONLY, _UNKNOWN):
                raise
    differing = _differing(wanted, read(connection))
    if differing:
        raise other_settings(name, differing)


def _differing(wanted: Settings, found: Settings) -> list[str]:
    one, other = ({**each.at_start, **each.later} for each in (wanted, found))
    names = [name for name in one if one[name] != other.get(name)]
    if wanted.offsets != found.offsets:
        names.append("time_zone")
    if wanted.has_zones and not found.has_zones:
        names.append("its table of time zones")
    return names


def _load_zones(login: Login, tools: Tools, server: ServerTools) -> None:
    """Fill the tables of time zones with those of this machine; without them it has none."""
    folders = (server.maker.parent, tools.folder, server.server.parent)
    programs = [folder / name for folder in folders for name in _ZONE_PROGRAMS]
    program = next((one for one in programs if one.is_file()), None)
    zones = next((one for one in _ZONES if Path(one).is_dir()), None)
    if program is None or zones is None:
        return
    made = subprocess.run(
        [str(program), zones],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        env=environment(),
        check=False,
    )
    tools.load(login, "mysql", [made.stdout])
