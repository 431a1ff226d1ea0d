"""The jobs of the page "Rehearse every merge request" do what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml  # type: ignore[import-untyped,unused-ignore]
from doc_blocks import DOCS, environment, make_project
from pyrage import x25519

pytestmark = pytest.mark.slow

PAGE = (DOCS / "guide" / "rehearse-in-ci.md").read_text(encoding="utf-8")
# What needs the web: the program is installed here already.
_LEFT_OUT = "pip install"


def _blocks() -> list[Any]:
    return [yaml.safe_load(text) for text in re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.M | re.S)]


def _github(secrets: dict[str, str]) -> tuple[dict[str, str], list[str], list[str]]:
    """Return variables, commands, and those that run at the end whatever happens."""
    (found,) = [one for one in _blocks() if "jobs" in one]
    job = found["jobs"]["rehearse"]
    variables = {
        name: re.sub(r"\$\{\{ secrets\.(\w+) \}\}", lambda m: secrets.get(m[1], ""), value)
        for name, value in job["env"].items()
    }
    steps = [step for step in job["steps"] if "run" in step]
    always = [step["run"] for step in steps if step.get("if") == "always()"]
    return variables, [step["run"] for step in steps if "if" not in step], always


def _gitlab(secrets: dict[str, str]) -> tuple[dict[str, str], list[str], list[str]]:
    (found,) = [one for one in _blocks() if "rehearse" in one]
    job = found["rehearse"]
    return secrets, job["script"], job["after_script"]


JOBS = {"GitHub": _github, "GitLab": _gitlab}


def _run(command: str, folder: Path, variables: dict[str, str]) -> int:
    done = subprocess.run(
        ["/bin/bash", "-e", "-o", "pipefail", "-c", command],
        cwd=folder,
        env=environment() | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    sys.stdout.write(f"$ {command}\n{done.stdout}{done.stderr}")  # shown where a test fails
    return done.returncode


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return the secrets of a pipeline, for an encrypted backup at a mirror."""
    folder = tmp_path_factory.mktemp("production")
    (folder / "drive").mkdir()
    make_project(folder / "app")
    identity = x25519.Identity.generate()
    mirror = f"file://{folder}/drive/backups"
    here = {"SOULSENSE_MIRROR": mirror}
    for command in (
        f"soulsense-db mirror add {mirror}",
        f"soulsense-db create --compression zstd --recipient {identity.to_public()}",
        "soulsense-db mirror sync",
    ):
        assert _run(command, folder / "app", here) == 0
    (own,) = [path for path in (folder / "drive" / "backups").iterdir() if path.is_dir()]
    yield {"BACKUPS_URL": f"{mirror}/{own.name}", "SOULSENSE_IDENTITY": str(identity)}


def _checked_out(folder: Path) -> Path:
    """Return a checkout: no database, and no backup."""
    make_project(folder)
    (folder / "app.db").unlink()
    return folder


def _pipeline(name: str, folder: Path, secrets: dict[str, str]) -> int:
    """Run the commands of a job as its runner does; return the exit code of the one that fails."""
    variables, commands, always = JOBS[name](secrets)
    commands = [command for command in commands if not command.startswith(_LEFT_OUT)]
    assert commands
    assert always
    codes = []
    for command in commands:
        codes.append(_run(command, folder, variables))
        if codes[-1]:
            break
    for command in always:
        assert _run(command, folder, variables) == 0
    return codes[-1]


@pytest.mark.parametrize("name", JOBS)
def test_a_merge_request_is_rehearsed(name: str, tmp_path: Path, secrets: dict[str, str]) -> None:
    """One that loses data fails with 77, and one that does not passes; both have their reports."""
    folder = _checked_out(tmp_path / "job")
    assert _pipeline(name, folder, secrets) == 77
    assert not (folder / "backups").exists()
    assert not (folder / "app.db").exists()
    assert "Table settings is dropped" in (folder / "rehearsal.html").read_text(encoding="utf-8")
    root = ElementTree.parse(folder / "rehearsal.xml").getroot()  # noqa: S314 - our own
    assert root.get("failures") == "1"
    (folder / "migrations" / "versions" / "0004_one_account.py").unlink()
    assert _pipeline(name, folder, secrets) == 0
    root = ElementTree.parse(folder / "rehearsal.xml").getroot()  # noqa: S314 - our own
    assert root.get("failures") == "0"


def test_a_loss_on_purpose_passes(tmp_path: Path, secrets: dict[str, str]) -> None:
    """The line of the page lets 77 pass, and not 76."""
    (line,) = re.findall(r"^```sh\n(.*?)\n```$", PAGE, re.M | re.S)
    folder = _checked_out(tmp_path / "job")
    _, commands, _ = _gitlab(secrets)
    assert _run(commands[1], folder, secrets) == 0
    assert _run(line, folder, secrets) == 0
    revision = folder / "migrations" / "versions" / "0004_one_account.py"
    revision.write_text(revision.read_text().replace("def upgrade():", "def upgrade():\n    OH_NO"))
    assert _run(line, folder, secrets) != 0


def test_without_the_key_the_page_says_which_code(tmp_path: Path, secrets: dict[str, str]) -> None:
    """A wrong secret is 35, and a folder without backups 20 or one of the mirror's."""
    folder = _checked_out(tmp_path / "job")
    other = secrets | {"SOULSENSE_IDENTITY": str(x25519.Identity.generate())}
    assert _pipeline("GitLab", folder, other) == 35
    assert _pipeline("GitLab", folder, secrets | {"BACKUPS_URL": secrets["BACKUPS_URL"] + "x"}) in {
        20,
        *range(80, 85),
    }


def test_what_runs_is_pinned() -> None:
    """An action is named by its commit, with its version behind it."""
    used = re.findall(r"uses: (.*)$", PAGE, re.M)
    assert len(used) == 3
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one) for one in used)
