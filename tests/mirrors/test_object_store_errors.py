"""What an object store refuses is an error of the tree, says what to do, and tells no secret."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from s3_answers import Answers, answering
from s3_server import ACCESS_KEY, HOST, SECRET_KEY, S3Server, use_nothing, use_server

from soulsense_db.errors import (
    BackupError,
    BackupNotFoundError,
    MirrorDeniedError,
    MirrorError,
    MirrorFullError,
    MirrorNotFoundError,
    MirrorUnreachableError,
)
from soulsense_db.mirrors import Mirror, mirror_for
from soulsense_db.testing.mirror_hooks import KEY, MB, outgoing, some_bytes

TOKEN = "FwoGZXIvYXdzEXAMPLETOKEN"  # noqa: S105 (made up)
SECRETS = (ACCESS_KEY, SECRET_KEY, TOKEN, "Signature=")

ACTIONS: dict[str, Callable[[Mirror, Path], object]] = {
    "list": lambda mirror, _: list(mirror.list_objects()),
    "read": lambda mirror, _: list(mirror.read(KEY)),
    "write": lambda mirror, folder: mirror.write(KEY, outgoing(folder, some_bytes(6 * MB))),
    "write a small one": lambda mirror, folder: mirror.write(KEY, outgoing(folder, b"data")),
    "create": lambda mirror, _: mirror.create(KEY, b"data"),
    "replace": lambda mirror, _: mirror.replace(KEY, b"data"),
    "delete": lambda mirror, _: mirror.delete(KEY),
}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Answers]:
    """Return what a server answers to everything."""
    with answering() as answers:
        use_nothing(monkeypatch, tmp_path)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{HOST}:{answers.port}")
        yield answers


@pytest.fixture
def mirror(answers: Answers) -> Mirror:
    """Return a mirror at that server."""
    return mirror_for("s3://bucket/prefix", timeout=1)


def _refused(action: str, mirror: Mirror, folder: Path) -> BackupError:
    with pytest.raises(BackupError) as refused:
        ACTIONS[action](mirror, folder)
    return refused.value


Case = tuple[int, str, type[MirrorError], str | None]
CASES: list[Case] = [
    (404, "NoSuchBucket", MirrorNotFoundError, "'bucket'"),
    (301, "PermanentRedirect", MirrorNotFoundError, "AWS_REGION"),
    (403, "InvalidAccessKeyId", MirrorDeniedError, "The key is wrong"),
    (403, "SignatureDoesNotMatch", MirrorDeniedError, "The key is wrong"),
    (400, "ExpiredToken", MirrorDeniedError, "expired"),
    (403, "ExpiredToken", MirrorDeniedError, "expired"),
    (400, "InvalidToken", MirrorDeniedError, "The key is wrong"),
    (403, "RequestTimeTooSkewed", MirrorDeniedError, "Set the clock"),
    (507, "", MirrorFullError, "Make room"),
    (403, "QuotaExceeded", MirrorFullError, "Make room"),
    (400, "EntityTooLarge", MirrorFullError, "Make room"),
    (507, "XMinioStorageFull", MirrorFullError, "Make room"),
    (500, "InternalError", MirrorUnreachableError, "Check the network"),
    (503, "SlowDown", MirrorUnreachableError, "Check the network"),
    (429, "", MirrorUnreachableError, "Check the network"),
    (502, "", MirrorUnreachableError, "Check the network"),
    (400, "MalformedXML", MirrorError, None),
]


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def test_a_refusal_says_what_to_do(
    answers: Answers, mirror: Mirror, tmp_path: Path, action: str, case: Case
) -> None:
    """Each answer of the protocol has its place in the tree, whatever was asked."""
    answers.status, answers.code, kind, hint = case
    error = _refused(action, mirror, tmp_path)
    assert type(error) is kind
    assert "s3://bucket/prefix" in str(error)
    assert answers.code in str(error)
    assert hint is None or hint in (error.hint or "")


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("code", ["AccessDenied", ""])
def test_a_missing_right_is_named(
    answers: Answers, mirror: Mirror, tmp_path: Path, action: str, code: str
) -> None:
    """Who has no right is told which one to ask for."""
    answers.code = code
    verb, right = {
        "list": ("list", "s3:ListBucket"),
        "read": ("read", "s3:GetObject"),
        "delete": ("delete", "s3:DeleteObject"),
    }.get(action, ("write", "s3:PutObject"))
    error = _refused(action, mirror, tmp_path)
    assert isinstance(error, MirrorDeniedError)
    assert f"does not allow these credentials to {verb} (" in str(error)
    assert f"Give them the right {right} in 'bucket'" in (error.hint or "")


@pytest.mark.parametrize(
    "more",
    [
        "<Region>eu-west-1</Region>",
        "<Message>the region 'us-east-1' is wrong; expecting 'eu-west-1'</Message>",
    ],
)
def test_the_region_is_named(answers: Answers, mirror: Mirror, tmp_path: Path, more: str) -> None:
    """Where the store says which region is the right one, the hint does, too."""
    answers.status, answers.code, answers.more = 400, "AuthorizationHeaderMalformed", more
    error = _refused("list", mirror, tmp_path)
    assert isinstance(error, MirrorNotFoundError)
    assert error.hint == "Set AWS_REGION to eu-west-1; it is us-east-1 now."


def test_a_malformed_key_is_no_region(answers: Answers, mirror: Mirror, tmp_path: Path) -> None:
    """The same code without a region means the key."""
    answers.status, answers.code = 400, "AuthorizationHeaderMalformed"
    assert isinstance(_refused("list", mirror, tmp_path), MirrorDeniedError)


def test_a_refusal_is_not_asked_for_again(answers: Answers, mirror: Mirror, tmp_path: Path) -> None:
    """What will not change by trying again is told at once."""
    _refused("list", mirror, tmp_path)
    assert len(answers.requests) == 1


def test_a_busy_server_is_asked_again(answers: Answers, mirror: Mirror, tmp_path: Path) -> None:
    """Who is asked to slow down tries again, and not for ever."""
    answers.status, answers.code = 503, "SlowDown"
    _refused("list", mirror, tmp_path)
    assert 3 < len(answers.requests) < 10


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(("status", "code"), [(403, "SignatureDoesNotMatch"), (500, "Internal")])
def test_no_secret_is_told(
    *,
    answers: Answers,
    mirror: Mirror,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    action: str,
    status: int,
    code: str,
) -> None:
    """Neither the error nor its traceback, nor the log, nor what an object looks like."""
    caplog.set_level(logging.DEBUG)
    answers.status, answers.code = status, code
    error = _refused(action, mirror, tmp_path)
    shown = [
        str(error),
        repr(error),
        str(error.__dict__),
        "".join(traceback.format_exception(error)),
        repr(mirror),
        str(vars(mirror)),
        caplog.text,
    ]
    for secret in SECRETS:
        assert all(secret not in text for text in shown)


def test_an_object_that_is_missing_is_no_missing_bucket(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One is an object that is gone, the other a place that never was; listing tells it, too."""
    use_server(monkeypatch, s3, tmp_path)
    there = mirror_for(f"s3://{s3.new_bucket()}")
    with pytest.raises(BackupNotFoundError):
        list(there.read(KEY))
    assert list(there.list_objects()) == []
    missing = mirror_for("s3://no-such-bucket")
    for act in ACTIONS.values():
        with pytest.raises(MirrorNotFoundError, match="NoSuchBucket"):
            act(missing, tmp_path)
