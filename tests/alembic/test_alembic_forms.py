"""A migration whose backup is encrypted or a differential: put back, or refused in time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from age_keys import Key
from alembic_project import Project, digest
from helpers import leftovers

from soulsense_db.meta_file import read_backup

pytestmark = pytest.mark.slow

REFUSED = 255
"""The exit code of alembic for an error that it shows as a line."""
WORDS = "correct horse battery staple"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a project at revision ``first``, protected in env.py."""
    made = Project(tmp_path / "project", "env.py").standard()
    shutil.rmtree(made.folder / "backups")  # with what was before the first revision
    return made


@pytest.fixture
def key(project: Project, tmp_path: Path) -> Key:
    """Return a key for which the backups of the project are encrypted."""
    made = Key(tmp_path)
    project.set_option("soulsense_recipients", made.public)
    return made


def _names(project: Project) -> set[str]:
    directory = project.folder / "backups"
    return {path.name for path in directory.glob("soulsense_*") if path.suffix != ".meta"}


def _refused(project: Project) -> str:
    """Run a migration that is refused; return what was said, once nothing is left of the try."""
    said = _fails(project, code=REFUSED)
    assert "No migration was run" in said
    assert "nowhere" not in said
    assert not _names(project)
    return said


def _fails(project: Project, *, code: int = 1) -> str:
    """Run a migration that fails; return what was said, once the database is what it was."""
    before = digest(project.database)
    done = project.run("upgrade", "head")
    assert done.returncode == code
    assert digest(project.database) == before
    assert not project.marker.exists()
    assert not leftovers(project.folder)
    return done.stderr + done.stdout


def _is_put_back(said: str) -> bool:
    return "was put back, at first" in said and "nowhere" in said


def test_an_encrypted_backup_is_put_back(project: Project, key: Key) -> None:
    """With the key at hand, a step that fails costs nothing, and the database is what it was."""
    project.set_option("soulsense_identity_file", "%(here)s/../key.txt")
    assert _is_put_back(_fails(project))
    (name,) = _names(project)
    assert name.endswith(".db.age")
    project.revision("broken", "second", "pass")
    assert project.run("upgrade", "head").returncode == 0


def test_a_passphrase_puts_back_as_well(project: Project) -> None:
    """It is the environment's: nobody is asked in the middle of a deployment."""
    project.set_option("soulsense_recipients", "passphrase")
    assert "SOULSENSE_PASSPHRASE" in _refused(project)
    project.env["SOULSENSE_PASSPHRASE"] = WORDS
    assert _is_put_back(_fails(project))


def test_without_a_key_no_step_is_run(project: Project, key: Key) -> None:
    """Nothing could be put back: it is refused before a backup is made, and says what to do."""
    said = _refused(project)
    assert "no private key is given" in said
    assert "SOULSENSE_IDENTITY_FILE" in said
    assert "soulsense_on_failure = keep" in said


@pytest.mark.parametrize("kind", ["wrong", "missing", "open"])
def test_with_a_key_that_opens_nothing_no_step_is_run(
    project: Project, key: Key, tmp_path: Path, kind: str
) -> None:
    """A wrong key, one that is not there, one that others can read: no backup is left either."""
    other = Key(tmp_path, "other.txt") if kind == "wrong" else key
    if kind == "missing":
        key.path.unlink()
    if kind == "open":
        key.path.chmod(0o644)
    project.env["SOULSENSE_IDENTITY_FILE"] = str(other.path)
    assert other.path.name in _refused(project)


def test_who_keeps_what_failed_needs_no_key(project: Project, key: Key) -> None:
    """With soulsense_on_failure = keep nothing is restored, so that public keys are enough."""
    project.set_option("soulsense_on_failure", "keep")
    done = project.run("upgrade", "head")
    assert "was left as it is" in done.stderr
    (name,) = _names(project)
    assert name.endswith(".db.age")


def test_a_differential_is_put_back(project: Project) -> None:
    """The first backup is the base of the next one; each puts its database back."""
    project.set_option("soulsense_differential", "true")
    project.upgrade("second")
    said = _fails(project)
    assert "was put back, at second" in said
    assert {name.partition(".")[2] for name in _names(project)} == {"db.zst", "db.diff"}


def test_a_service_that_is_restarted_all_the_time_fills_no_disk(project: Project) -> None:
    """Of the tries with the same content the newest stays, and the base that it needs."""
    project.set_option("soulsense_differential", "true")
    for count in (1, 2, 2, 2):
        said = _fails(project)
        assert "could not be deleted" not in said
        assert len(_names(project)) == count


def test_an_encrypted_differential_is_put_back(project: Project, key: Key) -> None:
    """The same with both, whose key is in the environment itself."""
    project.set_option("soulsense_differential", "true")
    project.env["SOULSENSE_IDENTITY"] = key.secret
    project.upgrade("second")
    assert "was put back, at second" in _fails(project)
    endings = {name.partition(".")[2] for name in _names(project)}
    assert endings == {"db.zst.age", "db.diff.age"}
    directory = project.folder / "backups"
    base = next(name for name in _names(project) if ".zst" in name)
    needing = next(name for name in _names(project) if ".diff" in name)
    assert read_backup(directory / needing).base_name == base
