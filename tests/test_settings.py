"""The options of alembic.ini and pyproject.toml, as the command line reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from soulsense_db import Period, RetentionPolicy
from soulsense_db.codecs import Compression
from soulsense_db.errors import OptionError
from soulsense_db.option_files import is_url, read_options
from soulsense_db.settings import Settings


def test_an_ini_file_is_read(tmp_path: Path) -> None:
    """URL and options come from the Alembic section, with %(here)s as Alembic replaces it."""
    path = tmp_path / "alembic.ini"
    path.write_text(
        "[alembic]\nsqlalchemy.url = sqlite:///%(here)s/app.db\nfile_template = %%(rev)s\n"
        "soulsense_backup = yes\nsoulsense_backup_directory = %(here)s/kept\n"
        "soulsense_keep_daily = 7\nsoulsense_keep_yearly = -1\nsoulsense_keep_within = 1m\n"
        "soulsense_max_total_size = 1.5GB\nsoulsense_catalog_table = none\n"
        "[logger_root]\nformat = %(message)s\n"
    )
    options = read_options(path)
    assert read_options(path, is_url)["sqlalchemy.url"] == f"sqlite:///{tmp_path}/app.db"
    assert Settings.of(options) == Settings(
        protects=True,
        directory=tmp_path / "kept",
        catalog=False,
        retention=RetentionPolicy(
            keep_daily=7,
            keep_yearly=-1,
            keep_within=Period(months=1),
            max_total_size=3 * 1024**3 // 2,
        ),
    )


def test_a_toml_file_is_read(tmp_path: Path) -> None:
    """The same options may be in [tool.alembic] of pyproject.toml, as numbers and booleans too."""
    path = tmp_path / "pyproject.toml"
    path.write_text(
        '[tool.alembic]\nscript_location = "mig"\nsoulsense_backup = true\n'
        'soulsense_backup_directory = "%(here)s/kept"\nsoulsense_keep_last = 3\n'
    )
    assert Settings.of(read_options(path)) == Settings(
        protects=True, directory=tmp_path / "kept", retention=RetentionPolicy(keep_last=3)
    )


@pytest.mark.parametrize("name", ["alembic.ini", "pyproject.toml"])
def test_a_file_without_a_section_says_nothing(tmp_path: Path, name: str) -> None:
    """A configuration that is about other things has no options for us."""
    (tmp_path / name).write_text("[other]\nkeep_last = 'x'\n")
    assert read_options(tmp_path / name) == {}
    assert Settings.of({}) == Settings()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("alembic.ini", b"no section"),
        ("alembic.ini", b"[alembic]\nsoulsense_backup_directory = %(nowhere)s\n"),
        ("alembic.ini", b"[alembic]\nx = \xff\n"),
        ("pyproject.toml", b"[tool.alembic\n"),
        ("pyproject.toml", b"\xff"),
        ("missing.ini", None),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error(
    tmp_path: Path, name: str, text: bytes | None
) -> None:
    """A broken or absent configuration is one error that names the file."""
    if text is not None:
        (tmp_path / name).write_bytes(text)
    with pytest.raises(OptionError, match=name):
        read_options(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("soulsense_keep_dayly", "7"),
        ("soulsense_keep", "7"),
        ("soulsense_keep_daily", "seven"),
        ("soulsense_keep_daily", "-2"),
        ("soulsense_keep_daily", "0"),
        ("soulsense_keep_within", "7w"),
        ("soulsense_max_total_size", "much"),
        ("soulsense_max_total_size", "0"),
        ("soulsense_backup", "perhaps"),
        ("soulsense_on_failure", "cry"),
    ],
)
def test_an_option_that_means_nothing_is_an_error(name: str, value: str) -> None:
    """A misspelt rule or a senseless value never becomes a weaker policy in silence."""
    with pytest.raises(OptionError):
        Settings.of({name: value})


def test_a_misspelt_option_is_answered_with_the_one_that_is_meant() -> None:
    """Before the list of all there are, which is long."""
    with pytest.raises(OptionError) as caught:
        Settings.of({"soulsense_on_falure": "keep"})
    assert caught.value.hint.startswith("Did you mean soulsense_on_failure? The options are: ")


@pytest.mark.parametrize("section", ["logger_root", "engine1", "post_write_hooks"])
def test_an_option_in_a_section_that_nobody_reads_is_an_error(tmp_path: Path, section: str) -> None:
    """What has no effect is no option: one in a logger's section would protect nothing."""
    path = tmp_path / "alembic.ini"
    path.write_text(f"[alembic]\n[{section}]\nsoulsense_keep_last = 3\n")
    with pytest.raises(OptionError, match=rf"'soulsense_keep_last' is in section \[{section}\]"):
        read_options(path)


def test_options_of_another_chain_and_of_all_sections_are_no_error(tmp_path: Path) -> None:
    """`alembic -n other` reads its own section; [DEFAULT] is a part of every one."""
    path = tmp_path / "alembic.ini"
    path.write_text(
        "[DEFAULT]\nsoulsense_keep_last = 3\n[alembic]\n[logger_root]\n"
        "[other]\nscript_location = other\nsoulsense_keep_daily = 5\n"
    )
    assert read_options(path) == {"soulsense_keep_last": "3"}


# Forms


def test_the_options_of_forms_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them become the options of a manager, in one place, and no key is read."""
    for name in ("SOULSENSE_IDENTITY", "SOULSENSE_IDENTITY_FILE", "SOULSENSE_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "alembic.ini"
    path.write_text(
        "[alembic]\nsoulsense_compression = zstd:5\nsoulsense_differential = true\n"
        "soulsense_recipients = age1aaa, ssh-ed25519 AAAA me@home\n  age1bbb\n"
        "soulsense_identity_file = %(here)s/key one.txt\n  %(here)s/two.txt\n"
        "soulsense_identity_command = pass show 'my key'\n"
        "soulsense_work_directory = %(here)s/work\nsoulsense_describe_openly = yes\n"
        "soulsense_tools = %(here)s/bin\nsoulsense_jobs = 4\n"
    )
    options = Settings.of(read_options(path)).form_options()
    assert str(options["identities"]) == (
        f"Identities(the file {tmp_path}/key one.txt and the file {tmp_path}/two.txt and the "
        "command pass)"
    )
    assert options == {
        "identities": options["identities"],
        "compression": Compression(level=5),
        "differential": True,
        "recipients": ("age1aaa", "ssh-ed25519 AAAA me@home", "age1bbb"),
        "describe_openly": True,
        "work_directory": tmp_path / "work",
        "tools": tmp_path / "bin",
        "jobs": 4,
    }


def test_the_environment_says_where_the_tools_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands before the option, and one that is empty says nothing."""
    settings = Settings.of({"soulsense_tools": "/of/the/option"})
    monkeypatch.setenv("SOULSENSE_TOOLS", "/of/the/environment")
    assert settings.form_options()["tools"] == Path("/of/the/environment")
    monkeypatch.setenv("SOULSENSE_TOOLS", " ")
    assert settings.form_options()["tools"] == Path("/of/the/option")
    assert Settings.of({"soulsense_tools": ""}).form_options()["tools"] is None


def test_the_environment_says_how_many_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands before the option; what is no number of jobs is an error, by its own name."""
    settings = Settings.of({"soulsense_jobs": "2"})
    monkeypatch.setenv("SOULSENSE_JOBS", "3")
    assert settings.form_options()["jobs"] == 3
    monkeypatch.setenv("SOULSENSE_JOBS", " ")
    assert settings.form_options()["jobs"] == 2
    assert Settings.of({"soulsense_jobs": ""}).form_options()["jobs"] == 1
    for wrong in ("0", "many", "-1", "1.5"):
        with pytest.raises(OptionError, match="soulsense_jobs is"):
            Settings.of({"soulsense_jobs": wrong})
    monkeypatch.setenv("SOULSENSE_JOBS", "all")
    with pytest.raises(OptionError, match="SOULSENSE_JOBS is 'all'"):
        settings.form_options()


def test_the_environment_says_where_the_key_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands before the files of the options, and a passphrase is beside either."""
    settings = Settings(identity_files=("elsewhere.txt",))
    monkeypatch.setenv("SOULSENSE_IDENTITY", "a secret")
    monkeypatch.setenv("SOULSENSE_IDENTITY_FILE", f"{tmp_path}/one.txt,{tmp_path}/two.txt")
    monkeypatch.setenv("SOULSENSE_PASSPHRASE", "words")
    found = settings.form_options()["identities"]
    assert [source.source for source in found.sources] == [
        "the environment variable SOULSENSE_IDENTITY",
        f"the file {tmp_path}/one.txt",
        f"the file {tmp_path}/two.txt",
    ]
    assert found.passphrase is not None
    assert found.passphrase.read_line() == "words"
    monkeypatch.delenv("SOULSENSE_IDENTITY")
    monkeypatch.delenv("SOULSENSE_IDENTITY_FILE")
    found = settings.form_options()["identities"]
    assert [source.source for source in found.sources] == ["the file elsewhere.txt"]


def test_a_list_of_toml_is_several_lines(tmp_path: Path) -> None:
    """An array, as TOML has it for several recipients, means what lines mean in an ini file."""
    path = tmp_path / "pyproject.toml"
    path.write_text('[tool.alembic]\nsoulsense_recipients = ["age1aaa", "ssh-rsa A, B"]\n')
    assert Settings.of(read_options(path)).recipients == ("age1aaa", "ssh-rsa A", "B")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("soulsense_differential", "perhaps"),
        ("soulsense_describe_openly", "perhaps"),
        ("soulsense_identity_command", "pass 'my secret"),
    ],
)
def test_an_option_of_forms_that_means_nothing_is_an_error(name: str, text: str) -> None:
    """It is named; of a command, which may hold a secret, nothing else."""
    with pytest.raises(OptionError, match=name) as caught:
        Settings.of({name: text})
    assert "secret" not in str(caught.value)
