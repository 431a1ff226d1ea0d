"""The tour of the example tells whom it cannot serve, before it does anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from server_tour import run_tour


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite:///x.db", "--url names no database of a server"),
        ("postgresql://app@127.0.0.1:1/shop", "The server of 127.0.0.1:1/shop does not answer"),
        ("mariadb://app@127.0.0.1:1/shop", "The server of 127.0.0.1:1/shop does not answer"),
    ],
)
def test_a_url_that_leads_to_no_server_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, says: str
) -> None:
    """It is one message, without a traceback, and no file is made."""
    monkeypatch.chdir(tmp_path)
    done = run_tour(url)
    assert done.returncode == 1
    assert done.stderr.startswith("\nThe tour failed: ")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
