"""What status tells Prometheus, as Prometheus' own parser reads it."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest
from helpers import make_database
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from shell import Shell

from soulsense_db import errors
from soulsense_db.cli.prometheus import metrics_of
from soulsense_db.health import HealthCheck, HealthReport, State


def _read(text: str) -> dict[str, Metric]:
    return {metric.name: metric for metric in text_string_to_metric_families(text)}


def _value(metrics: dict[str, Metric], name: str) -> float:
    (sample,) = metrics[name].samples
    return float(sample.value)


def test_the_metrics_are_those_of_the_report(shell: Shell) -> None:
    """Each number is a gauge with help, in bytes or seconds since 1970, labelled by database."""
    shell.ok("create")
    before = time.time() - 60
    metrics = _read(shell.ok("status", "--prometheus", "-"))
    assert set(metrics) == {
        "soulsense_status",
        "soulsense_check_status",
        "soulsense_status_timestamp_seconds",
        "soulsense_backups",
        "soulsense_damaged_backups",
        "soulsense_missing_backups",
        "soulsense_backups_without_base",
        "soulsense_database_size_bytes",
        "soulsense_free_bytes",
        "soulsense_newest_backup_timestamp_seconds",
        "soulsense_newest_verified_backup_timestamp_seconds",
    }
    database = shell.folder / "data" / "soulsense.db"
    for metric in metrics.values():
        assert metric.type == "gauge"
        assert metric.documentation.endswith(".")
        assert {sample.labels["database"] for sample in metric.samples} == {str(database)}
    assert _value(metrics, "soulsense_status") == 0
    assert _value(metrics, "soulsense_backups") == 1
    assert _value(metrics, "soulsense_database_size_bytes") >= database.stat().st_size
    for name in ("soulsense_newest_backup_timestamp_seconds", "soulsense_status_timestamp_seconds"):
        assert before < _value(metrics, name) < time.time() + 1
    checks = {sample.labels["check"] for sample in metrics["soulsense_check_status"].samples}
    assert {"newest backup", "free space", "migration"} <= checks


def test_what_is_not_known_is_left_out(shell: Shell) -> None:
    """Without a backup there is no moment of one, and the state is critical."""
    result = shell.run("status", "--prometheus", "-")
    metrics = _read(result.stdout)
    assert result.returncode == 2
    assert _value(metrics, "soulsense_status") == 2
    assert _value(metrics, "soulsense_backups") == 0
    assert "soulsense_newest_backup_timestamp_seconds" not in metrics


def test_a_file_is_replaced_whole_for_another_user_to_read(shell: Shell) -> None:
    """Nothing else is in the directory afterwards, and the report is printed as always."""
    shell.ok("create")
    folder = shell.folder / "textfile"
    folder.mkdir()
    (folder / "app.prom").write_text(old := "# HELP soulsense_status old\n")
    held = (folder / "app.prom").open()
    printed = shell.ok("status", "--prometheus", "textfile/app.prom")
    with held:
        assert held.read() == old  # whoever was reading it has read one of the two
    assert printed.startswith("SOULSENSE_DB OK")
    assert os.listdir(folder) == ["app.prom"]
    assert stat.S_IMODE((folder / "app.prom").stat().st_mode) == 0o644
    assert _value(_read((folder / "app.prom").read_text()), "soulsense_status") == 0


def test_a_file_that_cannot_be_written_is_an_error(shell: Shell) -> None:
    """A monitor that would see old numbers for ever is not left to find out; nothing is left."""
    shell.ok("create")
    assert "nowhere" in shell.fails(
        errors.StorageError, "status", "--prometheus", "nowhere/app.prom"
    )
    (shell.folder / "taken.prom").mkdir()
    before = set(os.listdir(shell.folder))
    shell.fails(errors.StorageError, "status", "--prometheus", "taken.prom")
    assert set(os.listdir(shell.folder)) == before


def test_json_and_metrics_share_no_stdout(shell: Shell) -> None:
    """With a file both are there; on stdout they exclude each other."""
    shell.ok("create")
    assert shell.run("status", "--prometheus", "-", "--json").returncode == 71
    assert shell.json("status", "--prometheus", "app.prom")["state"] == "OK"
    assert "soulsense_status" in (shell.folder / "app.prom").read_text()


@pytest.mark.parametrize("name", ['a "b".db', "a\\b.db", "a\nb.db", "ä.db", "a\\n.db", "a{b}=,.db"])
def test_a_label_may_hold_anything(name: str, tmp_path: Path) -> None:
    """Quotes, backslashes and braces of a path are read as they are; a line feed is a space."""
    check = HealthCheck(name='odd "check"', state=State.WARNING, message="")
    text = metrics_of(HealthReport(checks=(check,)), tmp_path / name)
    (sample,) = _read(text)["soulsense_check_status"].samples
    assert sample.labels == {
        "database": str(tmp_path / name.replace("\n", " ")),
        "check": 'odd "check"',
    }
    assert sample.value == 1


def test_a_name_that_is_no_text_is_written(shell: Shell) -> None:
    """A file name of bytes that are no UTF-8 does not keep the metrics from being written."""
    path = make_database(shell.folder / os.fsdecode(b"a\xff.db"))
    shell.run("status", "--url", str(path), "--prometheus", "app.prom")
    assert _value(_read((shell.folder / "app.prom").read_text("utf-8")), "soulsense_status") == 2


@pytest.mark.parametrize("name", ["data/soulsense.db", "notes.txt"])
def test_what_is_no_file_of_metrics_is_not_replaced(name: str, shell: Shell) -> None:
    """A name that was not meant, the database's above all, is an error, and what is there stays."""
    (shell.folder / "notes.txt").write_text("mine")
    path = shell.folder / name
    before = path.read_bytes()
    assert "would replace" in shell.fails(errors.OptionError, "status", "--prometheus", name)
    assert path.read_bytes() == before
