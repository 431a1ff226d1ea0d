"""Which kind of mirror a URL means, also where the system has no more files to open."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from soulsense_db.errors import StorageError
from soulsense_db.mirrors import mirror_for, registry


def test_what_the_system_refuses_is_an_error_of_the_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own kinds are found without a look at packages; of others a refusal is told as such."""

    def refused(**_: Any) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(registry, "entry_points", refused)
    assert mirror_for("file:///mnt/usb").address == "file:///mnt/usb"
    with pytest.raises(StorageError, match="Too many open files"):
        mirror_for("dav://example.org/backups")
