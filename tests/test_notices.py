"""What is no failure of an operation is in the log all the same."""

from __future__ import annotations

import logging

import pytest

from soulsense_db.errors import StorageError
from soulsense_db.notices import LastingWarning, ignoring


def test_what_is_ignored_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An error that is passed over leaves a line at DEBUG that says what and why."""
    with (
        caplog.at_level(logging.DEBUG, logger="soulsense_db"),
        ignoring(StorageError, what="a.db is left over"),
    ):
        raise StorageError("Permission denied: a.db (EACCES).")
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
    assert record.getMessage() == "a.db is left over: Permission denied: a.db (EACCES)"


def test_nothing_else_is_ignored() -> None:
    """An error of another kind goes on."""
    with pytest.raises(ValueError, match="x"), ignoring(StorageError, what="y"):
        raise ValueError("x")


def test_a_warning_of_what_lasts_comes_once(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged again only when it says something else."""
    warning = LastingWarning()
    for text in ("one", "one", "two"):
        warning.warn(text)
    assert [record.getMessage() for record in caplog.records] == ["one", "two"]
