"""What the README shows is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import readme_pictures
from helpers import clean_environment

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(text: str, language: str) -> list[str]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [code for found, code in blocks if found == language]


def test_the_readme_is_short() -> None:
    """A stranger reads it in two minutes: it has at most 5,000 characters."""
    assert len(README) <= 5000


def test_the_tour_prints_what_its_page_shows() -> None:
    """The output on the page of the tour is what it prints, but for the times in file names."""
    result = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "soulsense_app" / "tour.py")],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    page = (ROOT / "docs" / "guide" / "tour.md").read_text(encoding="utf-8")
    (shown,) = (block for block in _blocks(page, "text") if block.startswith("1. A journal app"))
    assert _without_times(shown.strip()) == _without_times(result.stdout.strip())


def _without_times(text: str) -> str:
    """Return ``text`` without what differs from run to run: times, ids, ages and their columns."""
    text = re.sub(r"backup_\d{8}_\d{6}_", "backup_TIME_", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", text)
    text = re.sub(r"\b(?=[0-9a-f]*\d)([0-9a-f]{8}|[0-9a-f]{12})\b", "ID", text)
    text = re.sub(r"\b\d+ (s|min)\b", "AGE", text)
    return re.sub(r"[ -]+", " ", text)


def test_the_picture_shows_what_happens() -> None:
    """The terminal of the README has the lines that its commands print, and the rows are there."""
    shown = readme_pictures.session()
    drawn = readme_pictures.draw_session(shown)
    assert _words(drawn) == _words(readme_pictures.PICTURE.read_text(encoding="utf-8"))
    (_, before), _, (_, after) = shown
    assert before == after == ["40"]


def test_the_picture_of_a_rehearsal_shows_what_happens() -> None:
    """The terminal on the page has the lines that the command prints, but for what it measures."""
    drawn = readme_pictures.draw_session(readme_pictures.rehearsal(), "rehearsal")
    kept = readme_pictures.REHEARSAL.read_text(encoding="utf-8")
    assert _without_measures(_words(drawn)) == _without_measures(_words(kept))
    assert "and loses data" in _words(drawn)


def _without_measures(text: str) -> str:
    return re.sub(r"[\d.]+ (ms|s|AGE|[KMGT]?B)\b", "N", text.replace("AGE", "N ms"))


def _words(svg: str) -> str:
    text = " ".join(re.findall(r"<text[^>]*>([^<]*)", svg)).replace("&#160;", " ")
    return _without_times(" ".join(text.split()))


def test_the_badges_tell_the_truth() -> None:
    """Each badge is drawn from pyproject.toml, and the README shows all of them."""
    for path, svg in readme_pictures.badges().items():
        assert path.read_text(encoding="utf-8") == svg
        assert f"(docs/images/{path.name})" in README


def test_the_description_on_an_index_needs_no_repository() -> None:
    """What is uploaded with the wheel has no link or picture that only a checkout has."""
    built = subprocess.run(
        [sys.executable, "-m", "hatch_fancy_pypi_readme"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "pip install soulsense-db" in built
    assert re.findall(r"\]\((?!https?://|#)[^)]*\)", built) == []
    assert "<!--" not in built


def test_the_two_commands_are_the_ones_that_ci_runs() -> None:
    """The commands of the README stand in .ci/run, letter for letter."""
    commands = next(block for block in _blocks(README, "") if "pip install" in block).splitlines()
    script = (ROOT / ".ci" / "run").read_text()
    assert len(commands) == 2
    for command in commands:
        assert f"    {command}\n" in script
