"""The commands about copies somewhere else, as a person types them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from age_keys import Key
from helpers import add_child, digest, flip
from shell import Shell
from test_cli_json import answer

from soulsense_db import errors

pytestmark = pytest.mark.slow


@pytest.fixture
def url(shell: Shell) -> str:
    """Return the URL of a mirror that is configured in the environment and not set up yet."""
    found = f"file://{shell.folder}/usb/soulsense"
    (shell.folder / "usb").mkdir()
    shell.env["SOULSENSE_MIRROR"] = found
    return found


def _data(shell: Shell) -> list[Path]:
    return sorted(shell.folder.glob("usb/soulsense/*/*.db"))


def test_add_says_what_works_and_what_to_write(shell: Shell, url: str) -> None:
    """A line for each right, the folder, and the line of the configuration that is missing."""
    del shell.env["SOULSENSE_MIRROR"]
    said = shell.ok("mirror", "add", url)
    for right in ("write", "read", "list", "create", "delete"):
        assert f"  {right:<8}ok\n" in said
    assert said.endswith(f"soulsense_mirrors or --mirror:\n{url}\n")
    assert _data(shell) == []


def test_a_drive_that_is_not_there_is_named_with_the_way_out(shell: Shell, url: str) -> None:
    """Not mounted, not set up, or its parent missing: the message says which, and what to do."""
    assert "Is the drive mounted?" in shell.fails(errors.MirrorNotFoundError, "mirror", "list", url)
    said = shell.fails(errors.MirrorNotFoundError, "mirror", "sync")
    assert "not mounted" in said
    assert f"soulsense-db mirror add {url}" in said
    (shell.folder / "usb").rmdir()
    shell.fails(errors.MirrorNotFoundError, "mirror", "add", url)


def test_without_mirrors_nothing_is_said_of_them(shell: Shell) -> None:
    """Who has none sees none; the commands about them say how to name one."""
    said = shell.ok("create") + shell.ok("auto") + shell.ok("status")
    assert "irror" not in said.replace(str(shell.folder), "")
    for words in (["mirror", "sync"], ["mirror", "list"], ["mirror", "verify"]):
        assert "--mirror" in shell.fails(errors.OptionError, *words)


def test_a_nightly_run_uploads_and_removes(shell: Shell, url: str) -> None:
    """``auto`` brings the mirror in step, by the policy of the configuration."""
    shell.ok("mirror", "add", url)
    (shell.folder / "alembic.ini").write_text("[alembic]\nsoulsense_mirror_keep_last = 2\n")
    for number in range(3):
        add_child(shell.database, f"number {number}")
        said = shell.ok("auto", "--keep-last", "1")
        assert f"{url}: uploaded 1 (" in said
    assert len(shell.ids()) == 1
    assert len(_data(shell)) == 2
    assert "removed 1" in said
    assert re.search(rf"also at +{re.escape(url)}\n", shell.ok("show", "latest"))
    assert "nothing to upload" in shell.ok("auto")


def test_a_mirror_that_fails_fails_no_backup(shell: Shell, url: str) -> None:
    """The exit code of ``auto`` is 0; stderr says why, with --quiet as well.

    Who asks ``create`` to wait has the exit code of what went wrong, and the backup.
    """
    code = errors.MirrorNotFoundError.exit_code
    for words, expected in (["auto", "--quiet"], 0), (["create", "--wait-for-mirrors"], code):
        result = shell.run(*words)
        assert result.returncode == expected
        assert "not mounted" in result.stderr
        assert "Traceback" not in result.stderr
    assert len(shell.ids()) == 2
    # The pause after that: a cron job every minute does not fill a mailbox.
    assert shell.run("auto", "--quiet").stderr == ""
    assert shell.run("mirror", "sync").returncode == errors.MirrorNotFoundError.exit_code
    assert "failure(s)" in shell.ok("status")


def test_the_machine_is_gone(shell: Shell, url: str) -> None:
    """Nothing but the URL: list, restore, and the rows are there."""
    shell.ok("mirror", "add", url)
    assert "Not uploaded yet: 'auto' or 'mirror sync' does that" in shell.ok("create", "Noon")
    assert "Not uploaded" not in shell.ok("create", "Evening", "--wait-for-mirrors")
    rows = digest(shell.database)
    shutil.rmtree(shell.folder / "data")
    del shell.env["SOULSENSE_MIRROR"]
    assert "Evening" in shell.ok("mirror", "list", url)
    new = shell.folder / "new" / "app.db"
    words = ("restore", "latest", "--from", url, "--url", f"sqlite:///{new}")
    assert "The backup that was downloaded stays in " in shell.ok(*words, "--dry-run")
    said = shell.ok(*words, "--yes")
    assert f"Restored {new}" in said
    assert digest(new) == rows
    assert "Evening" in shell.ok("list", "--url", str(new))


def test_a_restore_without_the_key_downloads_nothing(shell: Shell, url: str) -> None:
    """A script that lacks the key is told so at once, not after hours of download."""
    (shell.folder / "keys").mkdir()
    key = Key(shell.folder / "keys")
    shell.ok("mirror", "add", url)
    shell.ok("create", "Evening", "--recipient", key.public, "--wait-for-mirrors")
    new = shell.folder / "new" / "app.db"
    words = ["restore", "latest", "--from", url, "--url", f"sqlite:///{new}", "--yes"]
    shell.fails(errors.IdentityError, *words)
    assert list((shell.folder / "new").rglob("*.age")) == []
    shell.ok(*words, "--identity-file", str(key.path))
    assert digest(new) == digest(shell.database)


def test_import_downloads_and_restores_nothing(shell: Shell, url: str) -> None:
    """The backup is here again, under its id; the database is what it was."""
    shell.ok("mirror", "add", url)
    shell.ok("create", "Evening", "--wait-for-mirrors")
    (identity,) = shell.ids()
    shutil.rmtree(shell.folder / "data" / "backups")
    add_child(shell.database)
    rows = digest(shell.database)
    assert identity in shell.ok("import", identity[:6], "--from", url)
    assert shell.ids() == [identity]
    assert digest(shell.database) == rows
    shell.fails(errors.BackupNotFoundError, "import", "nosuch", "--from", url)
    assert shell.run("import", "latest", "a description", "--from", url).returncode == 2


def test_verify_names_what_is_damaged(shell: Shell, url: str) -> None:
    """Its exit code is that of the damage, and a sync mends it."""
    shell.ok("mirror", "add", url)
    shell.ok("create", "--wait-for-mirrors")
    assert "1 of 1 verified in full" in shell.ok("mirror", "verify")
    (data,) = _data(shell)
    flip(data, 5000)
    result = shell.run("mirror", "verify")
    assert result.returncode == errors.ChecksumMismatchError.exit_code
    assert f"DAMAGED {data.name}" in result.stdout
    assert "DAMAGED" in shell.run("status").stdout
    assert "uploaded 1" in shell.ok("mirror", "sync")
    assert "1 of 1 verified in full" in shell.ok("mirror", "verify", "--within-days", "7")


def test_one_sync_may_have_another_policy(shell: Shell, url: str) -> None:
    """The rules of the command line come before those of the configuration, and say what goes."""
    shell.ok("mirror", "add", url)
    shell.create(3)
    assert "3 there" in shell.ok("mirror", "sync", url)
    before = set(_data(shell))
    said = shell.ok("mirror", "sync", "--mirror-keep-last", "1")
    assert "removed 2, 1 there" in said
    assert all(f"removed {path.name}" in said for path in before - set(_data(shell)))


def test_a_policy_for_the_backups_here_removes_nothing_there(shell: Shell, url: str) -> None:
    """Whatever says it: option, variable, table; only the rules for mirrors count there."""
    shell.ok("mirror", "add", url)
    shell.create(3)
    shell.ok("mirror", "sync")
    (shell.folder / "pyproject.toml").write_text("[tool.soulsense-db]\nkeep-last = 1\n")
    shell.env["SOULSENSE_KEEP_LAST"] = "1"
    assert "3 there" in shell.ok("mirror", "sync")
    add_child(shell.database)
    assert "4 there" in shell.ok("auto")
    table = "[tool.soulsense-db]\nkeep-last = 9\nmirror-keep-last = 1\n"
    (shell.folder / "pyproject.toml").write_text(table)
    assert "removed 2, 2 there" in shell.ok("auto")
    assert len(shell.ids()) == 4


def test_another_drive_in_its_place_is_set_up_only_on_purpose(shell: Shell, url: str) -> None:
    """Where backups are known to be and nothing is, the drive is not mounted."""
    shell.ok("mirror", "add", url)
    shell.ok("create", "--wait-for-mirrors")
    place = shell.folder / "usb" / "soulsense"
    place.rename(shell.folder / "unplugged")
    place.mkdir()
    said = shell.fails(errors.MirrorNotFoundError, "mirror", "sync")
    assert "Mount the drive." in said
    assert "mirror add" not in said
    assert shell.run("mirror", "add", url).returncode == errors.NotConfirmedError.exit_code
    assert list(place.iterdir()) == []
    shell.ok("mirror", "add", url, "--yes")
    assert "uploaded 1" in shell.ok("auto")


def test_a_meta_file_that_was_damaged_there_is_replaced(shell: Shell, url: str) -> None:
    """By a sync where its size differs, and after a verify whatever was changed in it."""
    shell.ok("mirror", "add", url)
    shell.ok("create", "--wait-for-mirrors")
    (data,) = _data(shell)
    meta = Path(f"{data}.meta")
    good = meta.read_bytes()
    meta.write_bytes(b"{")
    assert "uploaded 1" in shell.ok("mirror", "sync")
    assert meta.read_bytes() == good
    meta.write_bytes(good.replace(b'"manual"', b'"annual"'))
    assert shell.run("mirror", "verify").returncode != 0
    assert "uploaded 1" in shell.ok("mirror", "sync")
    assert meta.read_bytes() == good


def test_one_that_is_away_does_not_hide_what_the_others_have(shell: Shell, url: str) -> None:
    """``list`` and ``verify`` go on, and end with the exit code of what failed."""
    shell.ok("mirror", "add", url)
    shell.ok("create", "Evening", "--wait-for-mirrors")
    away = f"file://{shell.folder}/usb/away"
    for words, shown in ((["list"], "Evening"), (["verify"], "1 of 1")):
        result = shell.run("mirror", *words, "--mirror", away, "--mirror", url)
        assert result.returncode == errors.MirrorNotFoundError.exit_code
        assert shown in result.stdout
        assert away in result.stderr


def test_spaces_between_urls_are_no_part_of_them(shell: Shell, url: str) -> None:
    """Nor is a space in a path the end of a URL."""
    other = f"file://{shell.folder}/usb/My Drive"
    for one in (url, other):
        shell.ok("mirror", "add", one)
    shell.create()
    shell.env["SOULSENSE_MIRROR"] = f"{url} {other}"
    said = shell.ok("mirror", "sync")
    assert said.count("uploaded 1") == 2


def test_a_folder_that_is_misspelt_is_answered_with_those_there_are(shell: Shell, url: str) -> None:
    """Who looks for backups is never told to set up a mirror."""
    shell.ok("mirror", "add", url)
    shell.ok("create", "--wait-for-mirrors")
    folder = _data(shell)[0].parent.name
    said = shell.fails(errors.BackupNotFoundError, "import", "latest", "--from", f"{url}/{folder}x")
    assert folder in said
    said = shell.fails(errors.MirrorNotFoundError, "mirror", "list", url.removesuffix("/soulsense"))
    assert "mirror add" not in said


def test_mirrors_may_be_named_everywhere(shell: Shell, url: str) -> None:
    """Option, variable, table of pyproject.toml, alembic.ini; ``none`` switches them off."""
    shell.ok("mirror", "add", url)
    del shell.env["SOULSENSE_MIRROR"]
    shell.create()
    assert url in shell.ok("mirror", "sync", "--mirror", url)
    toml = shell.folder / "pyproject.toml"
    toml.write_text(f'[tool.soulsense-db]\nmirror = ["{url}"]\nmirror-folder = "named"\n')
    assert url in shell.ok("mirror", "sync")
    assert (shell.folder / "usb" / "soulsense" / "named").is_dir()
    shell.fails(errors.OptionError, "mirror", "sync", "--mirror", "none")
    own = f'[tool.soulsense-db.mirror-sync]\nmirror = ["{url}"]\nmirror-keep-last = 1\n'
    toml.write_text(own)
    assert url in shell.ok("mirror", "sync")
    shell.fails(errors.OptionError, "mirror", "verify")
    toml.unlink()
    (shell.folder / "alembic.ini").write_text(f"[alembic]\nsoulsense_mirrors = {url},\n")
    assert url in shell.ok("mirror", "sync")
    assert url in shell.ok("--mirror", url, "mirror", "--mirror", url, "sync")


def test_a_secret_in_a_url_is_refused_and_not_shown(shell: Shell) -> None:
    """Neither the message nor the JSON has it."""
    for bad in ("sftp://me:hunter2@host/path", "s3://bucket/prefix?secret=hunter2"):
        for words in (["create", "--mirror", bad], ["mirror", "list", bad], ["mirror", "add", bad]):
            result = shell.run(*words)
            assert result.returncode == errors.OptionError.exit_code
            assert "hunter2" not in result.stdout + result.stderr


def test_what_is_printed_for_programs_follows_the_schema(shell: Shell, url: str) -> None:
    """Each command about mirrors, with what works and what does not."""

    def result(*words: str, code: int = 0) -> Any:
        return answer(shell, *words, code=code)["result"]

    failed = result("mirror", "sync", code=errors.MirrorNotFoundError.exit_code)
    assert failed["mirrors"][0]["error"]["type"] == "MirrorNotFoundError"
    assert result("mirror", "add", url)["rights"]["delete"] == {"ok": True, "error": None}
    assert result("create", "--wait-for-mirrors")["mirrors"][0]["kept"] == 1
    assert result("auto")["mirrors"][0]["ok"]
    assert result("mirror", "sync", "--mirror-keep-last", "9")["mirrors"][0]["append_only"] is False
    assert len(result("mirror", "list")["folders"][0]["backups"]) == 1
    assert len(result("mirror", "verify")["mirrors"][0]["verified"]) == 1
    flip(_data(shell)[0], 5000)
    code = errors.ChecksumMismatchError.exit_code
    (damaged,) = result("mirror", "verify", code=code)["mirrors"][0]["damaged"]
    assert damaged["error"]["exit_code"] == code
    assert json.loads(shell.run("status", "--json").stdout)["result"]["state"] == "WARNING"
