"""Drills on the command line: the level, and the checks of pyproject.toml."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import scalar
from shell import Shell

from soulsense_db.errors import ApplicationCodeError, DrillError, OptionError

DRILL = ("verify", "latest", "--level", "drill")


def configure(shell: Shell, *lines: str, module: str = "") -> None:
    """Write ``[tool.soulsense-db.drill]``, and a module of checks."""
    text = "\n".join(("[tool.soulsense-db.drill]", *lines, ""))
    (shell.folder / "pyproject.toml").write_text(text, encoding="utf-8")
    (shell.folder / "mychecks.py").write_text(module, encoding="utf-8")


def test_the_checks_of_the_project_are_made_and_told(shell: Shell) -> None:
    """Queries and functions, each by its name; the live database is what it was."""
    shell.create()
    database = shell.folder / "data" / "soulsense.db"
    rows, before = scalar(database, "SELECT count(*) FROM child"), database.read_bytes()
    configure(
        shell,
        f'checks = [{{ sql = "SELECT count(*) FROM child", is = {rows}, name = "all there" }}]',
        'callable = ["mychecks:look"]',
        module="def look(engine):\n    engine.connect().close()\n",
    )
    told = shell.ok(*DRILL)
    assert "passed: all there\npassed: mychecks:look\n" in told
    assert "as recorded" in told
    assert database.read_bytes() == before
    assert "DRILLED" in shell.ok("list")


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        ("check = []", OptionError, "no option 'check'"),
        ("checks = 5", OptionError, "'checks' of [tool.soulsense-db.drill]"),
        ("callable = 5", OptionError, "mychecks:after_restore"),
        ('callable = "no name"', OptionError, "does not name a function"),
        ('callable = "gone:f"', ApplicationCodeError, "cannot be imported"),
        ('callable = "mychecks:gone"', ApplicationCodeError, "no 'gone'"),
        ('callable = "mychecks:value"', ApplicationCodeError, "cannot be called"),
        ('checks = ["DELETE FROM child"]', OptionError, "no SELECT"),
        ('checks = [{ sql = "SELECT 1", at-lest = 1 }]', OptionError, "no key 'at-lest'"),
    ],
)
def test_what_is_wrong_in_the_table_is_said_before_anything_is_done(
    shell: Shell, line: str, error: type[OptionError], words: str
) -> None:
    """A typing error says nothing of the backup, and names what is right."""
    shell.create()
    configure(shell, line, module="value = 5\n")
    assert words in shell.fails(error, *DRILL).replace("myapp.checks:", "mychecks:")
    assert shell.backups()[0].drilled_at is None
    assert "verified" in shell.ok("auto"), "nobody asks for it there"


def test_the_checks_of_another_project_are_not_made(shell: Shell, tmp_path: Path) -> None:
    """They would call a good backup bad: the file is named, or the database is the project's."""
    shell.create()
    configure(shell, 'checks = ["SELECT 0"]')
    url = str(shell.folder / "data" / "soulsense.db")
    result = shell.run(*DRILL, "--url", url)
    assert result.returncode == 0
    assert "are not made" in result.stderr
    named = ("--url", url, "--config", "pyproject.toml")
    assert "'SELECT 0'" in shell.fails(DrillError, *DRILL, *named)


def test_a_level_that_does_not_exist_is_a_usage_error(shell: Shell) -> None:
    """It is never taken for a weaker check."""
    shell.create()
    result = shell.run("verify", "latest", "--level", "thorough")
    assert result.returncode == 2
    assert "'thorough' is not a level" in result.stderr
    assert "quick check" in shell.ok("verify", "latest", "--quick")
    assert "full check" in shell.ok("verify", "latest")
