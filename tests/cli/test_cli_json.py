"""What --json prints: one object of the documented schema, whatever happens."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from helpers import add_child, execute, write_marker
from shell import Shell

from soulsense_db import errors

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "cli.schema.json"
COMMANDS = {
    *("create", "list", "show", "verify", "delete", "pin", "unpin", "import", "export"),
    *("restore", "undo", "prune", "auto", "status", "config"),
}


@cache
def validator() -> Any:
    """Return the validator of the documented schema, which itself is a good one."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def answer(shell: Shell, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run a command with --json; return its one object, which follows the schema."""
    result = shell.run(*arguments, "--json")
    assert result.returncode == code, result.stdout + result.stderr
    assert all(line.startswith("Warning: ") for line in result.stderr.splitlines())
    found: dict[str, Any] = json.loads(result.stdout)
    validator().validate(found)
    assert found["ok"] is ("error" not in found)
    return found


@pytest.mark.slow
def test_every_command_follows_the_schema(shell: Shell, tmp_path: Path) -> None:
    """Each command in turn, on a day with everything in it, prints what is documented."""
    execute(
        shell.database,
        "CREATE TABLE alembic_version (version_num TEXT)",
        "INSERT INTO alembic_version VALUES ('abc')",
    )
    done: set[str] = set()

    def run(*arguments: str, code: int = 0) -> dict[str, Any]:
        found = answer(shell, *arguments, code=code)
        assert found["command"] == arguments[0]
        done.add(arguments[0])
        result: dict[str, Any] = found["result"]
        return result

    assert run("status", code=2)["state"] == "CRITICAL"
    assert run("list")["backups"] == []
    assert run("config")["named_by"] == "data/soulsense.db"
    taken = run("create", "Before \x1b[31m \u202e import")["backup"]
    assert taken["description"] == "Before \x1b[31m \u202e import"
    assert run("list")["backups"] == [taken]
    assert run("show", "latest")["backup"] == taken
    assert run("verify", "latest")["recorded"]
    assert run("verify", "latest", "--quick")["level"] == "quick"
    assert run("pin", "latest", "why")["backup"]["pin_note"] == "why"
    assert not run("unpin", "latest")["backup"]["pinned"]
    exported = run("export", "latest", str(tmp_path / "out.db"))["path"]
    assert run("import", exported)["backup"]["kind"] == "imported"
    add_child(shell.database)
    assert run("auto", "--keep-last", "1")["created"]["kind"] == "automatic"
    assert run("auto")["created"] is None
    restored = run("restore", "latest~1", "--yes")
    assert {t["table"]: t["lost"] for t in restored["comparison"]["tables"]} == {
        "child": 1,
        "parent": 0,
    }
    assert {t["table"]: t["newer"] for t in restored["comparison"]["tables"]} == {
        "child": 1,
        "parent": 0,
    }
    run("undo", "--yes")
    assert run("prune", "--keep-last", "1", "--dry-run")["dry_run"]
    run("prune", "--keep-last", "1", "--yes")
    assert run("status")["state"] == "OK"
    (shell.folder / "data" / "backups" / f"{taken['filename']}.meta").write_text("{")
    assert run("show", taken["filename"])["backup"]["meta_problem"]
    run("status", code=1)
    run("delete", "latest", "--yes")
    write_marker(shell.database, backup="x", alembic_heads=("a",), target_revision="b")
    code = errors.InterruptedMigrationError.exit_code
    assert run("auto", "--keep-last", "1", code=code)["half_run_migration"]
    assert run("restore", "--accept", "--yes") == {"accepted": True}
    shell.database.unlink()
    assert run("restore", "latest", "--yes")["comparison"] is None
    assert done == COMMANDS


@pytest.mark.slow
def test_errors_are_objects_too(shell: Shell) -> None:
    """An error of the tree, or of the arguments, is an object on stdout with its exit code."""
    shell.create()

    def error(*arguments: str, code: int) -> dict[str, Any]:
        found: dict[str, Any] = answer(shell, *arguments, code=code)["error"]
        assert found["exit_code"] == code
        return found

    missing = error("show", "nosuch", code=errors.BackupNotFoundError.exit_code)
    assert missing["type"] == "BackupNotFoundError"
    assert missing["message"].startswith("Backup file not found")
    assert (missing["outcome"], missing["commands"]) == ("unchanged", [])
    refused = error("restore", "latest", code=errors.NotConfirmedError.exit_code)
    assert "--yes" in refused["hint"]
    assert error("list", "--nope", code=2)["type"] == "UsageError"
    assert error("show", code=2)["type"] == "UsageError"
    assert error("nosuch", code=2)["type"] == "UsageError"
    assert error("prune", "--keep-last", "many", code=2)["type"] == "UsageError"
    assert error("prune", code=errors.OptionError.exit_code)["type"] == "OptionError"
    twice = shell.create_until_ambiguous()
    ambiguous = error("show", twice, code=errors.AmbiguousReferenceError.exit_code)
    assert len(ambiguous["candidates"]) == sum(one.startswith(twice) for one in shell.ids())


def test_the_schema_refuses_what_is_not_documented(shell: Shell) -> None:
    """A key too many, or one too few, does not pass: the test above can fail."""
    found = answer(shell, "create")
    found["result"]["backup"]["surprise"] = 1
    with pytest.raises(jsonschema.ValidationError):
        validator().validate(found)
    found = answer(shell, "create")
    del found["result"]["backup"]["id"]
    with pytest.raises(jsonschema.ValidationError):
        validator().validate(found)
