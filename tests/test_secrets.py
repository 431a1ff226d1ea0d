"""Passwords in URLs appear nowhere: no error, log, file, row, JSON or child process has them."""

from __future__ import annotations

import json
import logging
import os
import pickle
import shlex
import traceback
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic_project import DOORS, Project
from conftest import EngineMaker
from helpers import Child, make_database, within
from shell import Shell

from soulsense_db import BackupManager, db_backup
from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    OptionError,
    without_passwords,
)
from soulsense_db.scheduled import run_auto
from soulsense_db.settings import URL_VARIABLE

# Quoted and not, for a message may have it either way.
SECRET = "s3cr3t"  # noqa: S105 - of nobody
URLS = [
    # Refused at once: to look up a name may be slow, and a test runs hundreds of commands.
    "postgresql://user:s3cr3t%40x@localhost:1/db",
    "postgresql+psycopg://user:s3cr3t@localhost:1/db?sslpassword=s3cr3t",
    "mysql+pymysql://user:s3cr3t@localhost:1/db",
    "oracle://user:s3cr3t@host/?service_name=x",
    "nosuch+dialect://user:s3cr3t@host/db",
    "sqlite:////nowhere/path?password=s3cr3t",
    "sqlite:////nowhere/path?timeout=s3cr3t",
    "sqlite:////nowhere/path?check_same_thread=s3cr3t",
    "sqlite:////nowhere/path?detect_types=s3cr3t",
    "sqlite:///file:/nowhere/path?key=s3cr3t&uri=true",
    "sqlite://user:s3cr3t@/path",
    "sqlite://user:s3cr3t@host/path",
    "sqlite+aiosqlite://user:s3cr3t@host/path",
    "sqlite+nosuch://user:s3cr3t@host/path",
    # Not what they should be.
    "postgresql://user:s3cr3t@host:port/db",
    "postgresql://user:s3cr3t@[host/db",
    "postgresql://user:s3cr3t/s3cr3t@localhost:1/db",
    "postgresql://user:s3cr3t@s3cr3t@localhost:1/db",
    "postgresql:/user:s3cr3t@host/db",
    "postgresql:user:s3cr3t@host/db",
    "postgresql//user:s3cr3t@host/db",
    "://user:s3cr3t@host/db",
    "user:s3cr3t@host/db",
    "user:s3cr3t@host",
    "sqlite:///user:s3cr3t@host/db",
    "sqlite:///postgresql://user:s3cr3t@host/db",
    "/nowhere/path?password=s3cr3t",
    "nowhere/path?a=b&db_token=s3cr3t",
]


def _within(folder: Path, url: str) -> str:
    """Return ``url`` with what would be made of its paths inside ``folder``."""
    return url.replace("/nowhere", f"{folder}/nowhere")


# Errors


@pytest.mark.filterwarnings("ignore:Query string argument:sqlalchemy.exc.SAWarning")
@pytest.mark.parametrize("url", URLS)
def test_no_error_of_a_url_has_its_password(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is wrong with a URL, neither the error nor a traceback of it tells the password."""
    url = _within(tmp_path, url)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(URL_VARIABLE, url)

    def from_url() -> None:
        BackupManager.from_url(url).create()

    for work in (from_url, db_backup.create_backup):
        with pytest.raises(BackupError) as caught:
            work()
        error = caught.value
        assert SECRET not in str(error) + repr(error) + error.message + error.hint
        assert SECRET not in "".join(
            line for line in traceback.format_exception(error) if "File " not in line
        )
        copied = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
        assert (copied.message, copied.hint) == (error.message, error.hint)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("url", URLS)
def test_an_engine_that_is_a_url(url: str) -> None:
    """Who gives a URL where an engine belongs is told so without it."""
    with pytest.raises(TypeError, match="not str") as caught:
        BackupManager(url)  # type: ignore[arg-type]
    assert SECRET not in str(caught.value)


def test_a_reference_that_is_a_url(manager: BackupManager) -> None:
    """A URL in the place of a backup, a file or a directory is repeated without its password."""
    url = URLS[0]
    for work in (manager.get, manager.delete, manager.restore, manager.import_file):
        with pytest.raises(BackupNotFoundError, match=r"user:\*\*\*@localhost:1/db") as caught:
            work(url)
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("at postgresql://u:s3cr3t@h/d.", "at postgresql://u:***@h/d."),
        ("at my://u:s3:cr@3t@h:1/d and pg://u:p@h", "at my://u:***@h:1/d and pg://u:***@h"),
        ("/srv/postgresql:/u:s3cr3t@h", "/srv/postgresql:/u:***@h"),
        ("redis://:s3cr3t@h", "redis://:***@h"),
        ("(x.db?a=b&Password=s3cr3t)", "(x.db?a=b&Password=***)"),
        ("x.db?api_key=s3cr3t&b=c.", "x.db?api_key=***&b=c."),
        ("sqlite:////srv/app.db", "sqlite:////srv/app.db"),
        ("postgresql://u@h:5432/d", "postgresql://u@h:5432/d"),
        ("C:\\Users\\a:b@c, /srv/a:b@c.db: no", "C:\\Users\\a:b@c, /srv/a:b@c.db: no"),
        ("http://host:80/ ask me@example.org", "http://host:80/ ask me@example.org"),
    ],
)
def test_what_is_masked(text: str, masked: str) -> None:
    """Passwords in URLs, as they are or made a path of, and nothing else of a message."""
    assert without_passwords(text) == masked
    assert without_passwords(masked) == masked


# The command line


def _told(shell: Shell, *arguments: str) -> str:
    """Run a command that asks no server; return what it printed, without the password."""
    result = shell.run(*arguments)
    assert result.returncode == 0, result
    printed = result.stdout + result.stderr
    assert SECRET not in printed
    assert "Traceback" not in printed
    return printed


@pytest.mark.slow
def test_the_command_line_has_no_password(tmp_path: Path) -> None:
    """From an option, the environment or a file, for a person or a program: no output has it.

    One process runs all of them, each as the program would.
    """
    (tmp_path / "bare").mkdir()
    runs: list[tuple[list[str], str | None, dict[str, str]]] = []
    for url in (_within(tmp_path, url) for url in URLS):
        ini = "[alembic]\nsqlalchemy.url = " + url.replace("%", "%%") + "\n"
        toml = f'[tool.alembic]\n"sqlalchemy.url" = {json.dumps(url)}\n'
        runs += [
            (["create", "--url", url], None, {}),
            (["status", "--json", "--url", url], None, {}),
            (["restore", "latest", "--yes"], url, {}),
            (["list", "--json"], url, {}),
            (["auto"], None, {"alembic.ini": ini}),
            (["verify", "latest", "--json"], None, {"pyproject.toml": toml}),
        ]
    for url in filter(lambda url: "host" in url and url.find("://") > 0, URLS):
        runs += [  # in the wrong place
            (["list", url], None, {}),
            ([url], None, {}),
            (["show", url], None, {}),
            (["list", "--kind", url, "--json"], None, {}),
            (["create", "--config", url], None, {}),
        ]
    (tmp_path / "runs").write_text(json.dumps(runs))
    with Child("run_commands.py", tmp_path / "bare", tmp_path / "runs") as child:
        told, started = json.loads(child.finish(seconds=len(runs)))  # one each
    assert len(told) == len(runs)
    for (arguments, variable, given), (code, printed) in zip(runs, told, strict=True):
        case = f"{shlex.join(arguments)} with {variable} and {given}: {printed}"
        assert SECRET not in printed, case
        assert code != 99, case
        assert "Traceback" not in printed, case
    assert started == [], "a child process would show its arguments to everybody"


@pytest.mark.parametrize("name", ["alembic.ini", "pyproject.toml"])
@pytest.mark.parametrize(
    "text",
    [
        "sqlalchemy.url = postgresql://user:s3cr3t@host/db\n",
        "[alembic]\nsqlalchemy.url postgresql = //user:s3cr3t@host/db\n",
        "[alembic]\npostgresql//user s3cr3t@host/db\n",
        "[alembic]\nsqlalchemy.url = postgresql://user:s3cr3t%40x@host/db\n",
        "[alembic]\nsqlalchemy.url = a\nsqlalchemy.url = postgresql://user:s3cr3t@host/db\n",
        '[tool.alembic]\n"sqlalchemy.url" = "postgresql://user:s3cr3t@host/db\n',
        '[tool.alembic]\n"sqlalchemy.url" = "postgresql://user:s3cr3t\\@host/db"\n',
        "[tool.alembic]\nsqlalchemy.url = postgresql://user:s3cr3t@host/db\n",
        '[tool]\nalembic = "postgresql://user:s3cr3t@host/db"\n',
        '[alembic]\nsoulsense_keep_last = "postgresql://user:s3cr3t@host/db"\n',
        '[tool.alembic]\nsoulsense_backup = "postgresql://user:s3cr3t@host/db"\n',
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, text: str) -> None:
    """A configuration with a mistake in it is told of without the line that has the password."""
    from soulsense_db.option_files import is_ours, is_url, read_options
    from soulsense_db.settings import Settings

    (tmp_path / name).write_text(text)
    for wanted in (is_ours, is_url):
        try:
            Settings.of(read_options(tmp_path / name, wanted))
        except OptionError as error:
            printed = "".join(traceback.format_exception(error, chain=False))
            assert SECRET not in printed


@pytest.mark.slow
def test_a_password_on_the_command_line_is_warned_of(shell: Shell) -> None:
    """Everybody sees it with ps: one line says so and what to do instead; stdout stays clean."""
    url = URLS[0]
    printed = _told(shell, "list", "--url", url)
    assert printed.splitlines()[-1] == (
        "Warning: Other users of this machine can see the password in --url in its list of "
        "processes. Put the URL into SOULSENSE_DATABASE_URL or a configuration file."
    )
    assert printed.count("Warning") == 1
    result = shell.run("list", "--url", url, "--json")
    assert json.loads(result.stdout)["ok"]  # to list, the server is not asked
    assert "Warning: " in result.stderr
    assert "Warning" not in _told(shell, "list", "--quiet", "--url", url)
    shell.env[URL_VARIABLE] = url
    assert "Warning" not in _told(shell, "list")


# What stays


def _files_with_the_secret(folder: Path) -> list[str]:
    """Return the names of files whose name or contents have it."""
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if SECRET in path.name or (path.is_file() and SECRET.encode() in path.read_bytes())
    ]


def test_nothing_that_is_written_has_it(
    tmp_path: Path,
    make_engine: EngineMaker,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Backups, meta files, rows, markers, exports and logs with echo have no part of the URL."""
    database = make_database(tmp_path / "app.db")
    url = f"sqlite:///file:{database}?password=s3cr3t&mode=rwc&uri=true"
    for name in ("sqlalchemy.engine.Engine", "sqlalchemy.pool.impl.QueuePool", "soulsense_db"):
        monkeypatch.setattr(logging.getLogger(name), "disabled", False)  # as by a stock env.py
    with caplog.at_level(logging.DEBUG):
        manager = BackupManager(make_engine(url, echo="debug", echo_pool="debug"))
        info = manager.create("one")
        manager.pin(info, "kept")
        manager.verify(info)
        manager.import_file(manager.export(info, tmp_path / "out.db"))
        manager.restore(info)
        manager.undo_restore()
        run_auto(manager)
        with sa.create_engine(f"sqlite:///{database}").connect() as connection:
            assert connection.exec_driver_sql("SELECT count(*) FROM backups").scalar()
    assert "sqlalchemy.pool" in caplog.text, "there is a log"
    assert SECRET not in caplog.text
    assert _files_with_the_secret(tmp_path) == []
    assert SECRET not in repr(manager.list())


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_a_migration_tells_and_writes_none(tmp_path: Path, door: str) -> None:
    """Of a migration that succeeds, fails or is refused no line and no file has it."""
    project = Project(tmp_path, door).standard()
    ini = project.ini.read_text()
    url = f"sqlite:///file:{project.database}?password=s3cr3t&uri=true"
    project.ini.write_text(
        ini.replace(f"sqlalchemy.url = sqlite:///{project.database}", f"sqlalchemy.url = {url}")
    )
    assert SECRET in project.ini.read_text()
    good = project.run("upgrade", "second")
    assert good.returncode == 0, good.stderr
    bad = project.run("upgrade", "head")
    assert "was put back" in bad.stderr
    project.marker.write_text("{")
    refused = project.run("upgrade", "head")
    assert "cannot be read" in refused.stderr
    for result in (good, bad, refused):
        assert SECRET not in result.stdout + result.stderr
    assert _files_with_the_secret(tmp_path) == ["alembic.ini"]


def test_a_long_text_is_searched_in_time(manager: BackupManager) -> None:
    """Whatever a program is given as a reference, the search for passwords takes no longer."""
    with within(5), pytest.raises(BackupError):
        manager.get("x" * 1_000_000)
    with within(5):
        assert "s3cr3t" not in without_passwords("?pass" * 200_000 + "://a:s3cr3t@host/")
