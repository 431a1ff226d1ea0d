"""The ``soulsense_`` options of alembic.ini and pyproject.toml."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypedDict

from soulsense_db.catalog import catalog_option
from soulsense_db.codecs import Compression, Identities, Secret
from soulsense_db.errors import OptionError
from soulsense_db.option_errors import unknown_option, wrong_value
from soulsense_db.option_files import PREFIX
from soulsense_db.retention import COUNTS, Period, RetentionPolicy, parse_size

URL_VARIABLE = "SOULSENSE_DATABASE_URL"
"""The environment variable in which the command line and the guide's functions find the URL."""
DEFAULT_URL = "sqlite:///data/soulsense.db"
"""The URL they use otherwise: SoulSense's own database."""
KEY_VARIABLE = "SOULSENSE_IDENTITY"
"""The environment variable that may hold the private key itself."""
KEY_FILE_VARIABLE = "SOULSENSE_IDENTITY_FILE"
"""The environment variable with the names of key files."""
PASSPHRASE_VARIABLE = "SOULSENSE_PASSPHRASE"  # noqa: S105 - its name
"""The environment variable that may hold the passphrase."""
MIRROR_VARIABLE = "SOULSENSE_MIRROR"
"""The environment variable with the URLs of mirrors."""
TOOLS_VARIABLE = "SOULSENSE_TOOLS"
"""The environment variable with the directory of a database server's programs."""
JOBS_VARIABLE = "SOULSENSE_JOBS"
"""The environment variable with how many tables of a server are dumped or restored at once."""
NONE = "none"
"""The word that switches an option off."""
DEFAULT_FILES = ("pyproject.toml", "migrations/alembic.ini", "alembic.ini")
"""Where options are looked for in the current directory; the later one wins."""

_BETWEEN_URLS = re.compile(r"\s+(?=[A-Za-z][\w+.-]*://)")
_YES = {"1", "true", "yes", "on"}
_NO = {"0", "false", "no", "off"}
_KNOWN = {
    *("soulsense_backup", "soulsense_backup_directory", "soulsense_on_failure"),
    *("soulsense_catalog_table", "soulsense_keep_within", "soulsense_max_total_size"),
    *("soulsense_attached", "soulsense_compression", "soulsense_differential"),
    *("soulsense_recipients", "soulsense_identity_file", "soulsense_identity_command"),
    *("soulsense_describe_openly", "soulsense_work_directory"),
    *("soulsense_mirrors", "soulsense_mirror_folder", "soulsense_mirror_deadline"),
    *("soulsense_mirror_before_upgrade", "soulsense_mirror_keep_within"),
    *("soulsense_rehearse", "soulsense_rehearse_timeout"),
    *("soulsense_mirror_max_total_size", "soulsense_tools", "soulsense_jobs"),
    *(PREFIX + name for name in COUNTS),
    *(f"{PREFIX}mirror_{name}" for name in COUNTS),
}


class MirrorOptions(TypedDict, total=False):
    """The options of ``BackupManager`` about mirrors."""

    mirrors: tuple[str, ...]
    mirror_retention: RetentionPolicy | None
    mirror_folder: str | None
    mirror_deadline: float


class FormOptions(TypedDict):
    """The options of ``BackupManager`` about the forms of backups, and what makes them."""

    compression: Compression | None
    differential: bool
    recipients: tuple[str, ...] | None
    identities: Identities
    describe_openly: bool
    work_directory: Path | None
    tools: Path | None
    jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the options say.

    ``protects``: whether migrations are protected with env.py untouched (``soulsense_backup``);
    ``directory``: of the backups, None for the default; ``restores``: whether a migration that
    fails is put back (``soulsense_on_failure``); ``ignores_attached``: whether it may run with
    other database files attached, which are not backed up (``soulsense_attached``); ``catalog``:
    name of our table, False for none, True for the default (``soulsense_catalog_table``);
    ``retention``: of ``soulsense_keep_...`` and ``soulsense_max_total_size``, None when none of
    them is set. Of the forms of backups, each named like its option: ``compression``, None for
    none; ``differential``; ``recipients``, empty for no encryption; ``identity_files`` and
    ``identity_command``, where the private keys are; ``describes_openly``; ``work_directory``.
    Of mirrors: ``mirrors``, their URLs; ``mirror_retention``, what each keeps; ``mirror_folder``
    and ``mirror_deadline`` in seconds, None for the usual; ``mirrors_before_upgrade``: whether a
    mirror must have the safety backup before a migration begins. Of rehearsals: ``rehearses``,
    whether an upgrade is rehearsed before it runs; ``rehearse_timeout`` in seconds, None for the
    usual. ``tools``: the directory of a server's programs, None where they are looked for.
    ``jobs``: how many tables of a server are dumped or restored at once.
    """

    protects: bool = False
    directory: Path | None = None
    restores: bool = True
    ignores_attached: bool = False
    catalog: str | bool = True
    retention: RetentionPolicy | None = None
    compression: Compression | None = None
    differential: bool = False
    recipients: tuple[str, ...] = ()
    identity_files: tuple[str, ...] = ()
    identity_command: tuple[str, ...] = ()
    describes_openly: bool = False
    work_directory: Path | None = None
    mirrors: tuple[str, ...] = ()
    mirror_retention: RetentionPolicy | None = None
    mirror_folder: str | None = None
    mirror_deadline: float | None = None
    mirrors_before_upgrade: bool = False
    rehearses: bool = False
    rehearse_timeout: float | None = None
    tools: Path | None = None
    jobs: int = 1

    @classmethod
    def of(cls, options: Mapping[str, str]) -> Self:
        """Read them from ``options``, whose other names are none of ours.

        Raises :class:`OptionError` for a value that means nothing and for a ``soulsense_`` name
        that nobody reads: a misspelt rule would let backups be removed that it should keep.
        """
        options = {name.lower(): text.strip() for name, text in options.items()}
        _require_known(options)
        directory = options.get("soulsense_backup_directory")
        on_failure = options.get("soulsense_on_failure") or "restore"
        if on_failure not in {"restore", "keep"}:
            raise wrong_value("soulsense_on_failure", on_failure, "restore or keep")
        work = options.get("soulsense_work_directory")
        attached = options.get("soulsense_attached") or "refuse"
        if attached not in {"refuse", "ignore"}:
            raise wrong_value("soulsense_attached", attached, "refuse or ignore")
        return cls(
            protects=as_bool("soulsense_backup", options.get("soulsense_backup", "false")),
            directory=Path(directory) if directory else None,
            restores=on_failure == "restore",
            ignores_attached=attached == "ignore",
            catalog=catalog_option(options.get("soulsense_catalog_table")),
            retention=_retention(options),
            compression=Compression.of(options.get("soulsense_compression")),
            differential=_switch(options, "soulsense_differential"),
            recipients=public_keys_in(options.get("soulsense_recipients", "")),
            identity_files=names_in(options.get("soulsense_identity_file", "")),
            identity_command=_command(options, "soulsense_identity_command"),
            describes_openly=_switch(options, "soulsense_describe_openly"),
            work_directory=Path(work) if work else None,
            mirrors=mirrors_in(options.get("soulsense_mirrors", "")),
            mirror_retention=_retention(options, f"{PREFIX}mirror_"),
            mirror_folder=options.get("soulsense_mirror_folder") or None,
            mirror_deadline=_seconds(options, "soulsense_mirror_deadline"),
            mirrors_before_upgrade=_switch(options, "soulsense_mirror_before_upgrade"),
            rehearses=_switch(options, "soulsense_rehearse"),
            rehearse_timeout=_seconds(options, "soulsense_rehearse_timeout"),
            tools=_directory(options.get("soulsense_tools", "")),
            jobs=jobs_in("soulsense_jobs", options.get("soulsense_jobs", "")) or 1,
        )

    def mirror_options(self) -> MirrorOptions:
        """Return what they, and the environment, say of mirrors."""
        environment = os.environ.get(MIRROR_VARIABLE)
        options = MirrorOptions(
            mirrors=mirrors_in(environment) if environment else self.mirrors,
            mirror_retention=self.mirror_retention,
            mirror_folder=self.mirror_folder,
        )
        if self.mirror_deadline is not None:
            options["mirror_deadline"] = self.mirror_deadline
        return options

    def form_options(self) -> FormOptions:
        """Return what they, and the environment, say of the forms of backups.

        Where private keys are, the environment says before the options do. Nothing is read.
        """
        sources = [Secret.from_file(name) for name in self.identity_files]
        if self.identity_command:
            sources.append(Secret.from_command(self.identity_command))
        environment = environment_identities()
        return FormOptions(
            compression=self.compression,
            differential=self.differential,
            recipients=self.recipients or None,
            identities=Identities(
                *(environment.sources or sources), passphrase=environment.passphrase
            ),
            describe_openly=self.describes_openly,
            work_directory=self.work_directory,
            tools=_directory(os.environ.get(TOOLS_VARIABLE, "")) or self.tools,
            jobs=jobs_in(JOBS_VARIABLE, os.environ.get(JOBS_VARIABLE, "")) or self.jobs,
        )


def environment_identities() -> Identities:
    """Return where the private keys and the passphrase are that the environment has or names."""
    sources = [Secret.from_environment(KEY_VARIABLE)] if os.environ.get(KEY_VARIABLE) else []
    names = names_in(os.environ.get(KEY_FILE_VARIABLE, ""))
    sources += [Secret.from_file(name) for name in names]
    has_passphrase = bool(os.environ.get(PASSPHRASE_VARIABLE))
    passphrase = Secret.from_environment(PASSPHRASE_VARIABLE) if has_passphrase else None
    return Identities(*sources, passphrase=passphrase)


def names_in(text: str) -> tuple[str, ...]:
    """Return what stands between the commas and ends of lines of ``text``."""
    parts = text.replace("\n", ",").split(",")
    return tuple(part.strip() for part in parts if part.strip())


def mirrors_in(text: str) -> tuple[str, ...]:
    """Return the URLs of ``text``, as :func:`names_in`; there are none where ``none`` is last."""
    # A space may be in a path: what follows it is another URL only if it begins like one.
    return mirrors_of(names_in(_BETWEEN_URLS.sub(",", text)))


def mirrors_of(urls: Sequence[str]) -> tuple[str, ...]:
    """Return the URLs of a list, which are none where the word ``none`` is its last."""
    return () if urls and urls[-1].lower() == NONE else tuple(urls)


def public_keys_in(text: str) -> tuple[str, ...]:
    """Return the public keys of ``text``, as :func:`names_in`; there are none in ``none``.

    Those of SSH have spaces in them; between those of age, spaces will do.
    """
    return public_keys_of(names_in(text))


def public_keys_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the public keys of a list, which are none where the word ``none`` is its last."""
    if names and names[-1].lower() == NONE:
        return ()
    found: list[str] = []
    for name in names:
        found += name.split() if name.startswith("age1") else [name]
    return tuple(found)


def _directory(text: str) -> Path | None:
    return Path(text.strip()) if text.strip() else None


def _switch(options: Mapping[str, str], name: str) -> bool:
    return as_bool(name, options.get(name) or "false")


def _command(options: Mapping[str, str], name: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(options.get(name, "")))
    except ValueError:  # not shown: the command may hold a secret
        raise OptionError(
            f"{name} has a quote that is not closed.", hint="Close it, or put \\ before it."
        ) from None


def as_bool(name: str, text: str) -> bool:
    """Return what ``text`` of the option ``name`` means; raises :class:`OptionError`."""
    if text.lower() in _YES | _NO:
        return text.lower() in _YES
    raise wrong_value(name, text, "true or false")


def _require_known(names: Iterable[str]) -> None:
    for name in names:
        if name.startswith(PREFIX) and name not in _KNOWN:
            raise unknown_option(name, _KNOWN)


def _retention(options: Mapping[str, str], prefix: str = PREFIX) -> RetentionPolicy | None:
    """Return the policy of the options whose names begin with ``prefix``; None without any."""
    for name, text in options.items():
        if name.startswith((f"{prefix}keep_", f"{prefix}max_")) and not text:
            raise wrong_value(name, text, "a value, or remove the line")
    rules: dict[str, Any] = {
        name: _number(prefix + name, options[prefix + name])
        for name in COUNTS
        if options.get(prefix + name)
    }
    if within := options.get(f"{prefix}keep_within"):
        rules["keep_within"] = Period.parse(within)
    if size := options.get(f"{prefix}max_total_size"):
        rules["max_total_size"] = parse_size(size)
    return with_rules(RetentionPolicy(**rules)) if rules else None


def with_rules(policy: RetentionPolicy) -> RetentionPolicy:
    """Return ``policy``; raise :class:`OptionError` for one that was written and says nothing."""
    if policy.is_empty:
        raise OptionError(
            "A retention policy of zeros (keep_last 0 ...) removes nothing.",
            hint="Set at least one rule to 1 or more, or to -1 for all.",
        )
    return policy


def _seconds(options: Mapping[str, str], name: str) -> float | None:
    text = options.get(name)
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise wrong_value(name, text, "a number of seconds above 0")
    return seconds


def jobs_in(name: str, text: str) -> int | None:
    """Return the number in ``text``, None in none; raises :class:`OptionError` below 1."""
    if not text.strip():
        return None
    try:
        jobs = int(text)
    except ValueError:
        jobs = 0
    if jobs < 1:
        raise wrong_value(name, text.strip(), "a whole number from 1 on")
    return jobs


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise wrong_value(name, text, "a whole number, or -1 for all") from None
