"""Folders with what is worked with are removed, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from soulsense_db import fs
from soulsense_db.errors import StorageError


def test_a_folder_is_removed_with_all_in_it(tmp_path: Path) -> None:
    """And where there is none, that is no error."""
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").touch()
    fs.remove_folder(folder)
    fs.remove_folder(folder)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_folder_stays(tmp_path: Path) -> None:
    """A file of that name, and what a link leads to, are somebody's."""
    other, link, file = tmp_path / "other", tmp_path / "link", tmp_path / "file"
    (other / "deep").mkdir(parents=True)
    link.symlink_to(other)
    file.touch()
    fs.remove_folder(link)
    fs.remove_folder(file)
    assert (link / "deep").is_dir()
    assert file.exists()


def test_one_that_cannot_be_removed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the tree, with what the system said."""

    def refuse(path: Path, *, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("shutil.rmtree", refuse)
    with pytest.raises(StorageError, match="ermission"):
        fs.remove_folder(tmp_path)
