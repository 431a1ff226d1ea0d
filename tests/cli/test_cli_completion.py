"""What a shell offers when a person presses Tab: ids, kinds and revisions, and no harm done."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from age_keys import Key
from helpers import make_database
from shell import Shell

from soulsense_db import BackupManager, tab_completion
from soulsense_db.backup_info import FORMS, KINDS
from soulsense_db.cli import app
from soulsense_db.cli.grammar import commands_of
from soulsense_db.manager import ManagerOptions


def _complete(shell: Shell, line: str, *, kind: str = "bash") -> str:
    """Return what is printed for ``line``; nothing is on stderr."""
    words = line.split(" ")
    env = {"_SOULSENSE_DB_COMPLETE": f"complete_{kind}", "_TYPER_COMPLETE_ARGS": line}
    env |= {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    env["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    done = subprocess.run(
        [sys.executable, "-m", "soulsense_db"],
        cwd=shell.folder,
        env=shell.env | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.removesuffix("\n")


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_ids_with_time_and_description(shell: Shell) -> None:
    """A REF is completed with ids, the newest first; what is offered alone is typed alone."""
    first = shell.create(description="Before the import")
    shell.create()
    lines = _complete(shell, "soulsense-db restore ").splitlines()
    assert [line.split()[0] for line in lines] == ["latest", *shell.ids()]
    assert re.fullmatch(rf"{first} +\d{{4}}-\d\d-\d\d \d\d:\d\d  Before the import", lines[2])
    for command in ("show", "verify", "--yes --url data/soulsense.db delete", "rehearse --on"):
        assert _complete(shell, f"soulsense-db {command} {first[:11]}") == first


def test_ids_of_every_form(shell: Shell) -> None:
    """A backup that is compressed, a differential or encrypted is offered as any other."""
    key = Key(shell.folder)
    options: list[ManagerOptions] = [
        {"compression": "zstd"},
        {"differential": True},
        {"recipients": [key.public]},
        {"recipients": [key.public], "compression": "zstd"},
        {"recipients": [key.public], "identities": key.path, "differential": True},
    ]
    for one in options:
        BackupManager.from_url(f"sqlite:///{shell.database}", **one).create("told")
    offered = _complete(shell, "soulsense-db restore --identity-file key.txt ").splitlines()
    assert [line.split()[0] for line in offered] == ["latest", *shell.ids()]
    assert len(offered) == len(FORMS)


def test_kinds_and_revisions(shell: Shell) -> None:
    """The values of --kind and --revision are completed."""
    shell.create()
    assert _complete(shell, "soulsense-db list --kind ").splitlines() == list(KINDS)
    assert _complete(shell, "soulsense-db list --kind im") == "imported"
    assert _complete(shell, "soulsense-db list --revision ") == ""


def test_the_database_is_found_as_the_commands_find_it(shell: Shell) -> None:
    """By what is typed, else by the environment, else by pyproject.toml, options and all."""
    make_database(shell.folder / "other.db")
    made = shell.json("create", "--url", "other.db", "--directory", "kept")
    backup = made["backup"]["id"]
    line = f"soulsense-db show {backup[:6]}"
    assert _complete(shell, line) == ""
    project = shell.folder / "pyproject.toml"
    project.write_text('[tool.soulsense-db]\nurl = "sqlite:///other.db"\ndirectory = "kept"\n')
    assert _complete(shell, line) == backup
    assert _complete(shell, line.replace("show", "--url data/soulsense.db show")) == ""
    shell.env["SOULSENSE_URL"] = "sqlite:///data/soulsense.db"
    assert _complete(shell, line) == ""
    project.unlink()
    shell.env |= {"SOULSENSE_URL": "other.db", "SOULSENSE_DIRECTORY": "kept"}
    assert _complete(shell, line) == backup
    shell.env |= {"SOULSENSE_DATABASE_URL": "", "SOULSENSE_URL": "", "SOULSENSE_ENGINE": "app:db"}
    assert _complete(shell, line) == backup  # of whatever database the engine leads to


@pytest.mark.parametrize(
    ("kind", "form"),
    [("zsh", '"{0}":"'), ("fish", "{0}\t"), ("powershell", "{0}:::")],
)
def test_other_shells(shell: Shell, kind: str, form: str) -> None:
    """Each shell gets the form that it reads; nothing of a description acts in it."""
    backup = shell.create(description="$(touch gone) `id` 'x' \"y\" ; & | (z)")
    printed = _complete(shell, "soulsense-db show ", kind=kind)
    assert form.format(backup) in printed
    meaning = printed[printed.index(backup) :].splitlines()[0]
    assert not set("$`';&|") & set(meaning.split("))'")[0])


def test_nothing_is_changed_or_reported(shell: Shell) -> None:
    """No file or directory is made or touched, and no error printed, whatever is asked for."""
    (shell.folder / "alembic.ini").write_text("[alembic\nno = %(file", encoding="utf-8")
    shell.create()
    before = _files(shell.folder)
    for line in (
        "soulsense-db restore ",
        "soulsense-db restore 'a",
        "soulsense-db --url nowhere/app.db show ",
        "soulsense-db show --directory nowhere ",
        "soulsense-db list --revision --kind ",
        "soulsense-db show --url postgresql://host/db ",
        "soulsense-db --config alembic.ini show x",
        "soulsense-db nosuch ",
        "soulsense-db",
        "",
    ):
        _complete(shell, line)
    assert _files(shell.folder) == before


def test_a_damaged_meta_file_is_passed_by(shell: Shell) -> None:
    """The other backups are offered."""
    good, bad = shell.create(), shell.create()
    meta = next(path for path in shell.folder.rglob("*.meta") if bad in path.read_text())
    meta.write_text(f'{{"id": "{bad}", ', encoding="utf-8")
    assert _complete(shell, f"soulsense-db show {good[:8]}") == good
    assert _complete(shell, f"soulsense-db show {bad[:8]}") == ""


def test_it_knows_the_commands_and_options() -> None:
    """Its own tables agree with the program, from which it cannot ask them in time."""
    program = typer.main.get_command(app)
    commands = commands_of(program)
    named = {
        name
        for name, command in commands.items()
        if any(param.metavar == "REF" for param in command.params)
    }
    assert named == tab_completion.REF_COMMANDS
    with_value = {
        option
        for command in commands.values()
        for param in command.params
        if param.param_type_name == "option" and not param.is_flag
        for option in param.opts
    }
    assert with_value <= tab_completion.VALUE_OPTIONS
    assert tab_completion.KINDS == KINDS


def test_it_imports_little() -> None:
    """An answer loads neither SQLAlchemy nor Typer, each of which takes longer than it may."""
    code = (
        "import sys; sys.argv = ['soulsense-db']; from soulsense_db import __main__\n"
        "try: __main__.main()\n"
        "finally: assert not {'sqlalchemy', 'typer', 'msgspec'} & set(sys.modules)"
    )
    env = {"_SOULSENSE_DB_COMPLETE": "complete_bash", "COMP_CWORD": "2", "PATH": ""}
    env["COMP_WORDS"] = "soulsense-db show "
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
