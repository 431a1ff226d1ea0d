"""An object store finds credentials, region and endpoint where the tools of that service do."""

from __future__ import annotations

import builtins
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from s3_server import ACCESS_KEY, HOST, SECRET_KEY, S3Server, use_nothing, use_server

from soulsense_db.errors import MirrorDeniedError, MissingExtraError
from soulsense_db.mirrors import Mirror, MirrorUrl, mirror_for
from soulsense_db.mirrors.aws_credentials import aws_settings
from soulsense_db.mirrors.object_store_config import StoreMaker
from soulsense_db.testing.mirror_hooks import KEY

URL = MirrorUrl.of("s3://bucket/prefix")
KEYS = f"aws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return an empty home directory, in an environment that says nothing."""
    use_nothing(monkeypatch, tmp_path)
    (tmp_path / ".aws").mkdir()
    return tmp_path


def _configure(home: Path, *, credentials: str = "", config: str = "") -> None:
    (home / ".aws" / "credentials").write_text(credentials)
    (home / ".aws" / "config").write_text(config)


def _denied(mirror: Mirror) -> MirrorDeniedError:
    with pytest.raises(MirrorDeniedError) as denied:
        list(mirror.list_objects())
    return denied.value


def test_a_profile_is_all_it_needs(
    s3: S3Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys in ~/.aws/credentials, region and endpoint in ~/.aws/config, its name in AWS_PROFILE."""
    _configure(
        home,
        credentials=f"[backup]\n{KEYS}",
        config=f"[profile backup]\nregion = eu-west-1\nendpoint_url = http://{HOST}:{s3.port}\n",
    )
    monkeypatch.setenv("AWS_PROFILE", "backup")
    with mirror_for(f"s3://{s3.new_bucket()}") as mirror:
        assert mirror.create(KEY, b"data")
    assert aws_settings(URL).region == "eu-west-1"


def test_the_default_profile_needs_no_name(s3: S3Server, home: Path) -> None:
    """As the AWS tools take it."""
    _configure(
        home, credentials=f"[default]\n{KEYS}", config=f"[default]\nendpoint_url = {s3.url}\n"
    )
    with mirror_for(f"s3://{s3.new_bucket()}") as mirror:
        assert mirror.create(KEY, b"data")


def test_the_environment_comes_first(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables for keys, region and endpoint are taken before those of a profile."""
    _configure(
        home,
        credentials=f"[default]\n{KEYS}",
        config="[default]\nregion = eu-west-1\nendpoint_url = https://profile.example\n",
    )
    assert aws_settings(URL).config["access_key_id"] == ACCESS_KEY
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    found = aws_settings(URL)
    assert (found.config, found.region) == ({}, "eu-west-1")
    assert found.endpoint == "https://profile.example"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://all.example")
    assert aws_settings(URL).region == "us-west-1"
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://s3.example")
    found = aws_settings(URL)
    assert (found.region, found.endpoint) == ("us-west-2", "https://s3.example")


def test_files_may_be_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that name the files are the AWS tools'."""
    (home / "c").write_text("[default]\nregion = eu-west-3\n")
    (home / "k").write_text(f"[default]\n{KEYS}aws_session_token = T\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", "~/c")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "k"))
    found = aws_settings(URL)
    assert found.config["session_token"] == "T"  # noqa: S105 (made up)
    assert found.region == "eu-west-3"
    assert SECRET_KEY not in repr(found)


def test_a_profile_that_is_not_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that was misspelt does not lead to the keys of another profile."""
    _configure(home, credentials=f"[default]\n{KEYS}")
    monkeypatch.setenv("AWS_PROFILE", "bakcup")
    assert "'bakcup'" in str(_denied(mirror_for(URL)))


def test_a_file_that_is_none(home: Path) -> None:
    """A damaged file is named, and no line of it is shown."""
    _configure(home, credentials=f"{SECRET_KEY}\n[default\n{KEYS}")
    text = str(_denied(mirror_for(URL)))
    assert str(home / ".aws" / "credentials") in text
    assert SECRET_KEY not in text


def test_a_profile_with_a_program(
    s3: S3Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a profile needs more than keys is done by boto3, where that is installed."""
    program = home / "keys"
    program.write_text(
        "#!/bin/sh\n"
        f'echo \'{{"Version": 1, "AccessKeyId": "{ACCESS_KEY}", "SecretAccessKey": "x"}}\'\n'
    )
    program.chmod(0o700)
    _configure(home, config=f"[default]\ncredential_process = {program}\nendpoint_url = {s3.url}\n")
    with mirror_for(f"s3://{s3.new_bucket()}") as mirror:
        assert mirror.create(KEY, b"data")
    program.write_text("#!/bin/sh\nexit 1\n")
    assert "credentials" in str(_denied(mirror_for("s3://bucket")))
    _hide("boto3", monkeypatch)
    assert _denied(mirror_for(URL)).hint == "Install what can use it: python3 -m pip install boto3"


def _hide(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a module one that is not installed."""
    usual: Callable[..., ModuleType] = builtins.__import__

    def without(name: str, *args: object, **kwargs: object) -> ModuleType:
        if name.partition(".")[0] == module:
            raise ImportError(name)
        return usual(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)


def test_the_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not installed it is told the command."""
    _hide("obstore", monkeypatch)
    for url in ("s3://bucket", "gs://bucket", "az://container"):
        with pytest.raises(MissingExtraError, match=r"soulsense-db\[object-store\]"):
            mirror_for(url)


@pytest.fixture
def silent() -> Iterator[int]:
    """Return the port of a server that takes connections and says nothing."""
    with socket.create_server((HOST, 0)) as server:
        yield server.getsockname()[1]


def test_no_credentials(monkeypatch: pytest.MonkeyPatch, silent: int) -> None:
    """Where there are none, that is said soon: nothing waits for a cloud that is not there."""
    for endpoint in (f"http://{HOST}:{silent}", f"http://{HOST}:1"):
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", endpoint)
        began = time.monotonic()
        error = _denied(mirror_for("s3://bucket"))
        assert time.monotonic() - began < 5
        assert "There are no credentials for s3://bucket." in str(error)
        assert "AWS_ACCESS_KEY_ID" in (error.hint or "")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "no credentials" in str(_denied(mirror_for("s3://bucket")))


def test_no_google_credentials(monkeypatch: pytest.MonkeyPatch, silent: int) -> None:
    """Nor does a bucket of Google's wait for one."""
    monkeypatch.setenv("GCE_METADATA_HOST", f"{HOST}:{silent}")
    began = time.monotonic()
    error = _denied(mirror_for("gs://bucket/prefix"))
    assert time.monotonic() - began < 5
    assert "gcloud auth application-default login" in (error.hint or "")


def test_google_keys_that_are_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of keys that cannot be read is an error of the credentials, without its contents."""
    key = home / "key.json"
    key.write_text(f'{{"private_key": "{SECRET_KEY}"}}')
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    assert SECRET_KEY not in str(_denied(mirror_for("gs://bucket")))


def test_an_azure_account_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container alone says not whose; the hint names the variables."""
    error = _denied(mirror_for("az://container/prefix"))
    assert "AZURE_STORAGE_ACCOUNT_NAME" in (error.hint or "")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", f"{SECRET_KEY}!")
    assert SECRET_KEY not in str(_denied(mirror_for("az://container")))


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        ("s3://bucket", {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}),
        ("gs://bucket", {"GOOGLE_SKIP_SIGNATURE": "true"}),
        ("az://container", {"AZURE_STORAGE_ACCOUNT": "me", "AZURE_STORAGE_KEY": "a2V5"}),
        ("az://container", {"AZURE_STORAGE_ACCOUNT_NAME": "me", "AZURE_STORAGE_SAS_KEY": "sv=1"}),
        ("az://container", {"AZURE_STORAGE_USE_EMULATOR": "true"}),
    ],
)
def test_a_store_is_made_without_a_network(
    monkeypatch: pytest.MonkeyPatch, url: str, variables: dict[str, str]
) -> None:
    """Each kind of store can be configured by its own variables."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert StoreMaker(MirrorUrl.of(url), 10).store(10) is not None


@pytest.mark.parametrize(
    ("url", "variable"),
    [
        ("s3://bucket", "AWS_ENDPOINT_URL"),
        ("s3://bucket", "AWS_ENDPOINT_URL_S3"),
        ("gs://bucket", "GOOGLE_BASE_URL"),
        ("az://container", "AZURE_STORAGE_ENDPOINT"),
    ],
)
@pytest.mark.parametrize("host", ["store.example", "192.168.1.2:9000", "127.0.0.1.example"])
def test_nothing_goes_over_a_network_in_clear(
    monkeypatch: pytest.MonkeyPatch, url: str, variable: str, host: str
) -> None:
    """Without TLS only this machine is reached, whatever else a variable allows."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ALLOW_HTTP"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    monkeypatch.setenv(variable, f"http://{host}")
    error = _denied(mirror_for(url))
    assert "without encryption" in str(error)
    assert variable in str(error)


def test_credentials_are_read_when_they_are_needed(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    """An object of a mirror can be made without any; what it then finds is what it takes."""
    bucket = s3.new_bucket()
    with mirror_for(f"s3://{bucket}") as mirror:
        use_server(monkeypatch, s3, home)
        assert mirror.create(KEY, b"data")


@pytest.mark.parametrize(
    "endpoint", ["127.0.0.1:5555", "localhost", "ftp://host", "https://", "x y"]
)
def test_an_endpoint_that_is_no_url_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    """The variable is named; the library, which would panic, is not asked."""
    _configure(home, credentials=f"[default]\n{KEYS}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with mirror_for("s3://bucket") as mirror:
        assert "AWS_ENDPOINT_URL is no URL" in _denied(mirror).what
