"""--compression: where it is set, what is printed, and what happens without the library."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import digest
from shell import Shell

from soulsense_db import errors

pytestmark = pytest.mark.slow


def _forms(shell: Shell) -> list[str]:
    return [info.path.rpartition(".")[2] for info in reversed(shell.backups())]


def test_it_is_set_by_option_variable_and_file(shell: Shell) -> None:
    """Each of them compresses new backups, and 'none' switches it off for one command."""
    shell.ok("create", "--compression", "zstd")
    shell.env["SOULSENSE_COMPRESSION"] = "zstd:9"
    shell.ok("create")
    shell.ok("create", "--compression", "none")
    del shell.env["SOULSENSE_COMPRESSION"]
    (shell.folder / "pyproject.toml").write_text('[tool.soulsense-db]\ncompression = "zstd"\n')
    shell.ok("create")
    (shell.folder / "pyproject.toml").unlink()
    (shell.folder / "alembic.ini").write_text("[alembic]\nsoulsense_compression = zstd\n")
    shell.ok("create")
    assert "soulsense_compression" in shell.ok("config")
    assert _forms(shell) == ["zst", "zst", "db", "zst", "zst"]


def test_both_sizes_are_shown(shell: Shell) -> None:
    """Of the file in a list, and of the database as well where one backup is told of."""
    created = shell.ok("create", "--compression", "zstd")
    assert "(decompressed " in created
    facts = shell.json("show", "latest")["backup"]
    assert facts["size_bytes"] < facts["plain_size_bytes"]
    assert f"({facts['plain_size_bytes']:,} bytes)" in shell.ok("show", "latest")


def test_a_wrong_one_is_an_error(shell: Shell) -> None:
    """No backup is made, and the hint has what there is."""
    said = shell.fails(errors.OptionError, "create", "--compression", "gzip")
    assert "zstd:LEVEL" in said
    (shell.folder / "alembic.ini").write_text("[alembic]\nsoulsense_compression = zstd:99\n")
    assert "1 to 19" in shell.fails(errors.OptionError, "list")
    assert not (shell.folder / "data" / "backups").exists()


def test_export_makes_a_database_file(shell: Shell) -> None:
    """By its name or by --plain."""
    shell.ok("create", "--compression", "zstd")
    (shell.folder / "usb").mkdir()
    shell.ok("export", "latest", "copy.db")
    shell.ok("export", "latest", "usb/", "--plain")
    shell.ok("export", "latest", "usb/")
    endings = {path.name.partition(".")[2] for path in (shell.folder / "usb").iterdir()}
    assert endings == {"db", "db.meta", "db.zst", "db.zst.meta"}
    assert digest(shell.folder / "copy.db") == digest(shell.database)


@pytest.mark.parametrize("command", [("restore", "latest", "--yes"), ("verify", "latest")])
def test_without_the_library_the_error_says_what_to_install(
    shell: Shell, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """What needs it says so; plain backups are made, listed and restored as ever."""
    shell.ok("create", "--compression", "zstd")
    (tmp_path / "without" / "backports").mkdir(parents=True)
    for module in ("__init__", "zstd"):
        (tmp_path / "without" / "backports" / f"{module}.py").write_text(
            "raise ImportError('none')\n" if module == "zstd" else ""
        )
    (tmp_path / "without" / "compression.py").write_text("raise ImportError('none')\n")
    shell.env["PYTHONPATH"] = str(tmp_path / "without")
    before = digest(shell.database)
    told = shell.fails(errors.MissingExtraError, *command)
    assert 'pip install "soulsense-db[zstd]"' in told
    shell.fails(errors.MissingExtraError, "create", "--compression", "zstd")
    assert digest(shell.database) == before
    shell.env["SOULSENSE_COMPRESSION"] = "zstd"
    assert len(shell.backups()) == 1
    shell.ok("create", "--compression", "none")
    shell.ok("restore", "latest", "--yes")
