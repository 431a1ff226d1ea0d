"""What the documentation shows is what happens, and it tells of everything there is."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from alembic_project import HAS_PLUGINS
from doc_blocks import (
    DOCS,
    ROOT,
    SHOWN_FOLDER,
    Outcome,
    blocks_of,
    environment,
    fast_programs,
    fits,
    make_project,
    name_of,
    pages,
    run_page,
    run_pages,
)
from helpers import make_database

from soulsense_db import BackupManager, errors, settings
from soulsense_db.alembic.errors import (
    DataLossRefusedError,
    MigrationFailedError,
    MigrationRefusedError,
    RehearsalRefusedError,
)
from soulsense_db.alembic.options import ENVIRONMENT_VARIABLE
from soulsense_db.backup_info import to_meta
from soulsense_db.cli import app
from soulsense_db.cli.grammar import commands_of
from soulsense_db.errors import BackupError
from soulsense_db.option_files import PREFIX
from soulsense_db.settings import URL_VARIABLE

PAGES = [page for page in pages() if blocks_of(page.read_text(encoding="utf-8"))]
PAGES_FOR_PLUGINS = {"README.md", "before-an-upgrade.md", "fastapi.md", "flask-migrate.md"}
SCHEDULES = (DOCS / "guide" / "schedules.md").read_text(encoding="utf-8")
SHOWN_PROGRAM = f"{SHOWN_FOLDER}/.venv/bin/soulsense-db"


@pytest.fixture(scope="module")
def outcomes() -> dict[Path, Outcome]:
    """Run all pages once, side by side."""
    return run_pages(PAGES)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_shows_what_happens(page: Path, outcomes: dict[Path, Outcome]) -> None:
    """Every console, sh and Python block of a page runs, and prints what the page shows."""
    if page.name in PAGES_FOR_PLUGINS and not HAS_PLUGINS:
        pytest.skip("it shows the option for Alembic 1.18 and later")
    problems = "\n\n".join(outcomes[page].problems)
    assert not problems, f"{problems}\n\nIf that is right: python tests/doc_blocks.py --update"


def test_a_page_that_shows_something_else_is_noticed(tmp_path: Path) -> None:
    """Wrong output, a failure that is not shown and a failing Python block are each a problem."""
    make_project(tmp_path / "app")
    page = "```console\n$ echo one\ntwo\n$ false\n```\n\n```sh\nexit_code_of() { false; }\n"
    page += "exit_code_of\n```\n\n```python\nraise ValueError\n```\n"
    with fast_programs() as programs:
        outcome = run_page(page, "a page", tmp_path / "app", programs)
    assert len(outcome.problems) == 4
    assert "$ echo one\none\n$ false\n" in outcome.updated


def test_only_what_differs_from_run_to_run_may_differ() -> None:
    """Times, ids, sizes and ages are not compared; words are, and ``...`` stands for lines."""
    assert fits(
        ["ID        AGE     SIZE", "6cdd1338  0 s  84.0 KB"],
        ["ID        AGE      SIZE", "12ab34cd  12 s  1.2 MB"],
    )
    assert not fits(["Created a.db"], ["Removed a.db"])
    assert fits(["...", "two", "..."], ["one", "two", "three"])
    assert not fits(["...", "two"], ["one", "two", "three"])


def _tools_of(text: str) -> list[str]:
    return re.findall(r"^```(\w+)", text, re.MULTILINE)


def test_no_block_escapes_the_tests() -> None:
    """Blocks are of a language that is run, or of one that cannot be."""
    known = {"console", "sh", "python"}
    known |= {
        "text",
        "sql",
        "ini",
        "toml",
        "yaml",
        "crontab",
        "diff",
        "mermaid",
        "dockerfile",
        "json",
    }
    for page in pages():
        text = page.read_text(encoding="utf-8")
        assert set(_tools_of(text)) <= known, name_of(page)
        assert text.count("\n```") % 2 == 0, name_of(page)
        ran = [block for block in blocks_of(text) if block.language == "console"]
        assert len(ran) == _tools_of(text).count("console"), name_of(page)


# Schedules


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", SCHEDULES, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("block", _blocks("crontab"))
def test_the_crontab_lines_run_in_sh(tmp_path: Path, block: str) -> None:
    """The command of a crontab line makes a backup, in cron's shell and with its short PATH."""
    make_project(tmp_path / "app")
    (tmp_path / "app" / ".env").write_text("SOULSENSE_DATABASE_URL=sqlite:///app.db\n")
    fields = block.strip().split(maxsplit=5)
    assert all(re.fullmatch(r"[\d*/,-]+", field) for field in fields[:5])
    assert "%" not in fields[5]  # cron makes a new line of it
    program = Path(sys.executable).parent / "soulsense-db"
    command = fields[5].replace(SHOWN_PROGRAM, str(program))
    command = command.replace(SHOWN_FOLDER, str(tmp_path / "app"))
    result = subprocess.run(
        ["/bin/sh", "-c", command],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "SHELL": "/bin/sh"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert len(list((tmp_path / "app" / "backups").glob("*_Scheduled.db"))) == 1


def test_the_systemd_units_are_valid(tmp_path: Path) -> None:
    """``systemd-analyze verify`` has nothing to say about the units."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    program = str(Path(sys.executable).parent / "soulsense-db")
    found = re.findall(
        r'^```ini title="/etc/systemd/system/([\w.-]+)"\n(.*?)^```$', SCHEDULES, re.DOTALL | re.M
    )
    assert [name for name, _ in found] == ["soulsense-db.service", "soulsense-db.timer"]
    for name, text in found:
        unit = text.replace(SHOWN_PROGRAM, program).replace(SHOWN_FOLDER, str(tmp_path))
        (tmp_path / name).write_text(unit)
    result = subprocess.run(
        [analyze, "verify", "--man=no", *(str(tmp_path / name) for name, _ in found)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_the_compose_file_is_sound() -> None:
    """It parses and names only volumes, services and options that exist."""
    yaml = pytest.importorskip("yaml")
    page = (DOCS / "guide" / "docker.md").read_text(encoding="utf-8")
    (block,) = re.findall(r'^```yaml title="compose.yaml"\n(.*?)^```$', page, re.DOTALL | re.M)
    compose = yaml.safe_load(block)
    services = compose["services"]
    assert set(services) == {"app", "migrate", "backup"}
    for service in services.values():
        assert service["read_only"]
        assert {volume.partition(":")[0] for volume in service["volumes"]} == set(
            compose["volumes"]
        )
        assert set(service.get("depends_on", ())) <= set(services)
    line = re.search(r"while (soulsense-db .*?); do", services["backup"]["command"][-1])
    assert line
    require_command(line[1])
    docker = [shutil.which("docker") or "docker", "compose"]
    if shutil.which("docker") and subprocess.run([*docker, "version"], check=False).returncode == 0:
        subprocess.run(
            [*docker, "-f", "-", "config", "--quiet"], input=block, text=True, check=True
        )


def test_the_compose_file_with_a_server_is_sound() -> None:
    """It parses, names only what exists, and the job gets its command and the password."""
    yaml = pytest.importorskip("yaml")
    page = (DOCS / "guide" / "docker.md").read_text(encoding="utf-8")
    titled = r'^```yaml title="compose.yaml, with a server"\n(.*?)^```$'
    (block,) = re.findall(titled, page, re.DOTALL | re.M)
    compose = yaml.safe_load(block)
    for service in compose["services"].values():
        assert {volume.partition(":")[0] for volume in service["volumes"]} <= set(
            compose["volumes"]
        )
        assert set(service["secrets"]) == set(compose["secrets"])
    backup = compose["services"]["backup"]
    line = re.search(r"while (soulsense-db .*?); do", backup["command"][-1])
    assert line
    require_command(line[1])
    entry = [one.replace("$$", "$") for one in backup["entrypoint"]]
    entry[2] = entry[2].replace("cat /run/secrets/db_password", "echo secret")
    done = subprocess.run(
        ["/bin/sh", *entry[1:], "sh", "-c", 'echo "$PGPASSWORD"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "secret\n"


@pytest.mark.parametrize("page", ["fastapi.md", "flask-migrate.md"])
def test_what_is_shown_of_an_example_stands_there(page: str) -> None:
    """A block that is named after a file of the examples is a part of it, letter for letter."""
    text = (DOCS / "guide" / page).read_text(encoding="utf-8")
    shown = re.findall(
        r'^```python title="(examples/[^"]+)"\n(.*?)^```$', text, re.DOTALL | re.MULTILINE
    )
    assert shown
    for name, code in shown:
        assert _lines(code) in _lines((ROOT / name).read_text(encoding="utf-8"))


def _lines(code: str) -> str:
    """Return the code without indentation and empty lines: a page shows parts of classes."""
    return "".join(f"{line.strip()}\n" for line in code.splitlines() if line.strip())


def test_the_yaml_is_a_cron_job() -> None:
    """The Kubernetes block parses, and its command is one of the program's."""
    yaml = pytest.importorskip("yaml")
    (block,) = _blocks("yaml")
    job = yaml.safe_load(block)
    assert job["kind"] == "CronJob"
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"][:2] == ["soulsense-db", "auto"]
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}


# Everything is told of


def _page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_every_error_is_on_the_page_with_its_exit_code() -> None:
    """The page of errors has a row for each class, with its exit code, a cause and a cure."""
    classes: list[type[BackupError]] = [
        cls
        for cls in vars(errors).values()
        if inspect.isclass(cls) and issubclass(cls, BackupError)
    ]
    rows = [line for line in _page("reference/errors.md").splitlines() if line.startswith("| `")]
    told = {}
    for row in rows:
        name, code, *rest = (cell.strip() for cell in row.strip("|").split("|"))
        assert len(rest) == 3, row
        assert all(rest), row
        told[name.strip("`")] = int(code)
    classes += [MigrationRefusedError, MigrationFailedError]
    classes += [RehearsalRefusedError, DataLossRefusedError]
    assert told == {cls.__name__: cls.exit_code for cls in classes}


def test_every_option_is_on_the_page() -> None:
    """The page of options has a row for each ``soulsense_`` option and environment variable."""
    told = set(re.findall(r"^\| `(\w+)` \|", _page("reference/options.md"), re.MULTILINE))
    ours = {name for name in told if name.startswith(PREFIX)}
    assert ours == settings._KNOWN
    assert {URL_VARIABLE, ENVIRONMENT_VARIABLE} <= told


def test_every_key_of_a_meta_file_is_on_the_page(tmp_path: Path) -> None:
    """The page of the meta file has a row for each key of one, in the same order.

    That of an encrypted differential has all of them.
    """
    make_database(tmp_path / "app.db")
    info = BackupManager.from_url(str(tmp_path / "app.db")).create()
    keys = list(json.loads(to_meta(replace(info, path=f"{info.path}.diff.age"))))
    assert re.findall(r"^\| `(\w+)` \|", _page("reference/meta-format.md"), re.M) == keys


def test_every_command_is_in_the_navigation() -> None:
    """The site's navigation has a page for each command, in the program's order."""
    program = typer.main.get_command(app)
    names = [name.replace(" ", "-") for name in commands_of(program)]
    told = re.findall(r"commands/([\w-]+)\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert told == ["index", *names]


def test_links_lead_to_pages_that_are_there() -> None:
    """A relative link of a page leads to another page, or to one that is made of a command."""
    names = commands_of(typer.main.get_command(app))
    made = {f"commands/{name.replace(' ', '-')}.md" for name in names}
    for page in pages():
        for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text("utf-8")):
            path = Path(os.path.normpath(page.parent / target))
            there = path.exists() or str(path.relative_to(DOCS)) in {*made, "commands/index.md"}
            assert there, f"{name_of(page)} links to {target}"


def test_the_readme_shows_commands_that_there_are() -> None:
    """Each ``soulsense-db`` command line of the README names a command and options that exist."""
    lines = re.findall(
        r"^(?:\$ )?(soulsense-db (?!\.).*)$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE
    )
    assert lines
    for line in lines:
        require_command(line)


def require_command(line: str) -> None:
    """Fail if the command line names a command or an option that does not exist."""
    commands = commands_of(typer.main.get_command(app))
    words = line.partition("#")[0].split()[1:]
    flags = {word.partition("=")[0] for word in words if word.startswith("-")}
    if words[0] == "--help":
        return
    name = " ".join(words[:2]) if " ".join(words[:2]) in commands else words[0]
    assert name in commands, line
    known = {flag for parameter in commands[name].params for flag in parameter.opts}
    assert flags <= known, line


def test_the_pages_run_in_a_clean_environment() -> None:
    """No setting of whoever runs the tests reaches the pages."""
    names = [name for name in environment() if name.startswith("SOULSENSE_")]
    assert names == []
