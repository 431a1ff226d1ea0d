"""Fixtures: a database with rows, an engine on it, a manager of its backups, a full disk, a key."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import drawn
import measured
import pytest
import sqlalchemy as sa
from age_keys import Key
from helpers import MODES, Mode, disk_of, make_database
from hypothesis import settings
from s3_server import S3Server, s3_server
from shell import Shell, make_shell
from sqlalchemy.engine import Engine

from soulsense_db import BackupManager

# The same examples every time, and none kept between runs: the suite passes or it does not.
settings.register_profile("suite", database=None, deadline=None, derandomize=True)
settings.load_profile("suite")


# What is left out of a run of everything, unless --all asks for it: the failure matrix, what clicks
# and types on a screen, what runs on a server, but for the suite of its driver, and what has the
# marker "slow".
HERE = Path(__file__).parent
MATRIX = HERE / "faults"
SERVERS = (HERE / "postgresql", HERE / "mariadb_driver")
SCREENS = {"person", "display", "display_192"}
LEFT_OUT = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--all``, and the options of the failure matrix in tests/faults."""
    parser.addoption("--all", action="store_true", help="run the slow tests as well")
    parser.addoption(
        "--one-of-each",
        type=int,
        metavar="SEED",
        help="of each slow test with several sets of parameters run the one that this number draws",
    )
    group = parser.getgroup("faults", "the failure matrix")
    group.addoption("--faults", choices=("full", "sample"), help="how much of it runs")
    group.addoption("--faults-seed", type=int, help="what a sample is drawn with")


def pytest_configure(config: pytest.Config) -> None:
    """Run what is named on the command line whole, and a part of everything otherwise.

    That part is without slow tests, and of the failure matrix it is a sample.
    """
    # The options of this run are not those of a pytest that a test starts: one that also measures
    # coverage deletes what this one has measured so far. (The processes of pytest-xdist, which are
    # still to be started, read them.)
    if hasattr(config, "workerinput") or not getattr(config.option, "tx", None):
        os.environ.pop("PYTEST_ADDOPTS", None)
    named = any("faults" in Path(str(name)).parts for name in config.invocation_params.args)
    config.option.faults = config.option.faults or ("full" if named else "sample")
    if config.option.faults_seed is None:
        config.option.faults_seed = int(time.time())
    # A worker of pytest-xdist has the arguments of who started it.
    config.option.all = config.option.all or config.args_source is not config.ArgsSource.TESTPATHS


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run a run of everything in as many processes as there are cores, if nothing else is said."""
    if hasattr(config, "workerinput") or config.option.usepdb:
        return  # one of these processes calls this hook, too: it must start no more of them
    if getattr(config.option, "cov_source", None):  # pytest-cov has to know before: say -n
        return
    said = getattr(config.option, "numprocesses", 0)  # not there with -p no:xdist
    if config.args_source is config.ArgsSource.TESTPATHS and said is None:
        # Those this process may use: the machine of a container may have many more.
        ours = getattr(os, "sched_getaffinity", None)  # Linux has it
        config.option.numprocesses = len(ours(0)) if ours else os.cpu_count() or 1
        config.option.dist = "worksteal"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out slow tests, or those that are not drawn; choose those that measure coverage."""
    left_out: list[pytest.Item] = []
    slow = [item for item in items if _is_slow(item)]
    if not config.option.all:
        left_out = slow
    elif config.option.one_of_each is not None:
        left_out = drawn.left_out(slow, config.option.one_of_each)
    gone = set(left_out)
    items[:] = [item for item in items if item not in gone]
    measured.choose(items)
    config.hook.pytest_deselected(items=left_out)
    config.stash[LEFT_OUT] = len(left_out)
    if hasattr(config, "workeroutput"):
        config.workeroutput["left_out"] = len(left_out)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure coverage of the chosen tests alone."""
    with measured.paused_for(item):
        return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Learn from a worker how many it left out; each of them collects all tests."""
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", 0)


def _is_slow(item: pytest.Item) -> bool:
    return (
        item.get_closest_marker("slow") is not None
        or item.path.is_relative_to(MATRIX)
        or (item.path.parent in SERVERS and not item.path.stem.endswith("_suite"))
        or not SCREENS.isdisjoint(getattr(item, "fixturenames", ()))
    )


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Tell how to have the same sample again, and that this is not all."""
    chosen = config.option
    return [
        f"failure matrix: --faults={chosen.faults} --faults-seed={chosen.faults_seed}",
        "slow tests: run as well" if chosen.all else "slow tests: left out, --all runs them",
    ]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Tell how many are left out: nobody is to take the rest for all."""
    if number := config.stash.get(LEFT_OUT, 0):
        how = "--all alone" if config.option.all else "--all"
        terminalreporter.write_line(f"{number} slow tests were left out: {how} runs them as well.")


EngineMaker = Callable[..., Engine]
LOCK_TIMEOUT = 5.0


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> Mode:
    """Run the test once in each journal mode."""
    chosen: Mode = request.param
    return chosen


@pytest.fixture
def make_engine() -> Iterator[EngineMaker]:
    """Return a function like ``create_engine`` whose engines are disposed of after the test."""
    made: list[Engine] = []

    def make(url: str | Path, **options: object) -> Engine:
        text = url if isinstance(url, str) else f"sqlite:///{url}"
        made.append(sa.create_engine(text, **options))
        return made[-1]

    yield make
    for engine in made:
        engine.dispose()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return a database file in DELETE mode with a few hundred rows in two tables."""
    return make_database(tmp_path / "app.db")


@pytest.fixture
def engine(database: Path, make_engine: EngineMaker) -> Engine:
    """Return an engine on ``database``."""
    return make_engine(database)


@pytest.fixture
def manager(engine: Engine) -> BackupManager:
    """Return a manager of the backups of ``database``."""
    return BackupManager(engine, lock_timeout=LOCK_TIMEOUT)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Return a shell in a folder whose ``data/soulsense.db`` has rows."""
    return make_shell(tmp_path)


@pytest.fixture
def open_path() -> Iterator[Path]:
    """Return a directory that every user can enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name).resolve()
        path.chmod(0o755)
        yield path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 1 MB; skip where that is not allowed."""
    place = tmp_path / "small_disk"
    place.mkdir()
    with disk_of(1024 * 1024, place):
        yield place


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """Run an S3 server for all tests of this process."""
    with s3_server() as server:
        yield server


@pytest.fixture
def in_kolkata(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the local time zone to UTC+5:30."""
    monkeypatch.setenv("TZ", "XXX-5:30")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def no_umask() -> Iterator[None]:
    """Let every mode bit through that is asked for."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def key(tmp_path: Path) -> Key:
    """Return a key of age whose file is apart from the database and its backups."""
    (tmp_path / "keys").mkdir()
    return Key(tmp_path / "keys")
