"""What an object store or the library for it said, as errors of the tree.

The library's own text is never shown or logged: it quotes whole answers and addresses, in which are
keys, signatures and tokens. What is taken from it is the status, the code and a few known phrases.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from soulsense_db.errors import BackupError, MirrorDeniedError, MirrorError
from soulsense_db.mirrors.errors import (
    NO_ANSWER,
    denied,
    failed,
    full,
    no_object,
    place_missing,
    too_slow,
    unreachable,
)
from soulsense_db.mirrors.url import MirrorUrl

_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_CODE = re.compile(r"<Code>\s*([A-Za-z0-9.]{1,80})\s*</Code>")
_REGION = re.compile(r"<Region>([a-z0-9-]{1,40})</Region>|expecting '([a-z0-9-]{1,40})'")

_NO_PLACE = {"NoSuchBucket", "ContainerNotFound", "BucketNotFound", "InvalidBucketName"}
_NO_OBJECT = {"NoSuchKey", "BlobNotFound"}
_OTHER_REGION = {
    "PermanentRedirect",
    "TemporaryRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
}
_EXPIRED = {"ExpiredToken", "TokenRefreshRequired", "ExpiredTokenException"}
_WRONG_KEY = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "InvalidSecurity",
    "AuthenticationFailed",
    "InvalidAuthenticationInfo",
    "NoAuthenticationInformation",
    "AuthorizationHeaderMalformed",
}
_FULL = {"EntityTooLarge", "InsufficientCapacity", "XMinioStorageFull", "InsufficientStorage"}
_FULL_STATUS = 507
_BUSY = {
    "SlowDown",
    "RequestTimeout",
    "ServiceUnavailable",
    "InternalError",
    "ServerBusy",
    "NoSuchUpload",  # aborted by another; or completed, and the answer to that was lost
}
_BUSY_STATUS = {408, 429}
# Where machines in a cloud ask for credentials: asked only when none were found before.
_METADATA = ("169.254.169.254", "169.254.170.", "/latest/api/token", "computeMetadata")
# Where a token of web identity is changed for keys.
_TOKEN_SERVICE = "AssumeRoleWithWebIdentity"  # noqa: S105 - the name of a service

_RIGHTS = {
    "s3": {
        "list": "s3:ListBucket",
        "read": "s3:GetObject",
        "write": "s3:PutObject",
        "delete": "s3:DeleteObject",
    },
    "gs": {
        "list": "storage.objects.list",
        "read": "storage.objects.get",
        "write": "storage.objects.create and storage.objects.delete",
        "delete": "storage.objects.delete",
    },
}
_WHERE_FROM = {
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile of "
    "~/.aws/credentials in AWS_PROFILE.",
    "gs": "Run gcloud auth application-default login, or name the file of a service account in "
    "GOOGLE_APPLICATION_CREDENTIALS.",
    "az": "Set AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_KEY; "
    "or run az login.",
}


@dataclass(frozen=True, slots=True)
class Said:
    """What is known of an error of the library, without secrets.

    Attributes:
        kind: The class of the error.
        status: Of HTTP; None where no answer came.
        code: Of the store, such as ``NoSuchBucket``; empty where there was none.
        reason: A phrase for a person.
        while_aborting: Whether it was the removal of what had been uploaded that failed.
    """

    kind: str
    status: int | None
    code: str
    reason: str
    while_aborting: bool = False

    @property
    def is_timeout(self) -> bool:
        """Whether nothing came for too long."""
        return self.reason == NO_ANSWER


def said(error: BaseException) -> Said:
    """Return what is known of ``error``."""
    text = str(error)
    status = _STATUS.search(text)
    code = _CODE.search(text)
    number = int(status[1]) if status else None
    named = code[1] if code else ""
    reason = named or (f"HTTP {number}" if number else _phrase(text))
    aborting = "performing DELETE" in text and "uploadId=" in text
    return Said(type(error).__name__, number, named, reason, aborting)


def _phrase(text: str) -> str:
    known = {
        "dns error": "its name does not resolve",
        "ConnectionRefused": "connection refused",
        "certificate": "its certificate is not trusted",
        "kind: Timeout": NO_ANSWER,
        "TimedOut": NO_ANSWER,
        "ConnectionReset": "connection reset",
        "BrokenPipe": "connection reset",
        "IncompleteMessage": "connection closed",
        "incorrectly configured region": "PermanentRedirect",
        "BadScheme": "not encrypted",
    }
    for part, phrase in known.items():
        if part in text:
            return phrase
    return "connection broken" if "HTTP error" in text or "HttpError" in text else "no reason given"


def translated(
    error: BaseException, url: MirrorUrl, action: str, *, key: str = "", timeout: float, region: str
) -> BackupError:
    """Return the error of the tree for an error of the library.

    Args:
        error: What it raised.
        url: The mirror's.
        action: What was tried: ``list``, ``read``, ``write`` or ``delete``.
        key: The object that it was about.
        timeout: For how long nothing came, if that is what it was.
        region: The one that was asked; empty where there are none.
    """
    what = said(error)
    text = str(error)
    return (
        _of_credentials(url, action, what, text)
        or _of_the_place(url, key, what, text, region)
        or _of_a_refusal(url, action, what)
        or _of_the_network(url, what, timeout)
        or failed(str(url), what.reason)
    )


def _of_credentials(url: MirrorUrl, action: str, what: Said, text: str) -> BackupError | None:
    """Return the error where there was nothing to sign a request with."""
    if any(part in text for part in _METADATA) or what.kind == "UnauthenticatedError":
        return _denied(url, action, what) if what.code else no_credentials(url)
    if _TOKEN_SERVICE in text and what.status is not None and what.status < 500:
        return bad_credentials(url, f"web identity: {what.reason}")
    return None


def _of_the_place(
    url: MirrorUrl, key: str, what: Said, text: str, region: str
) -> BackupError | None:
    """Return the error where something is not there."""
    if what.code in _NO_PLACE:
        return _no_bucket(url, what.reason)
    if what.code in _NO_OBJECT or (what.kind == "FileNotFoundError" and key and not what.code):
        return no_object(str(url), key)
    other = _REGION.search(text)
    is_elsewhere = what.code in _OTHER_REGION and (other or what.code not in _WRONG_KEY)
    if is_elsewhere or "PermanentRedirect" in what.reason:
        return _other_region(str(url), what.reason, region, other)
    return None


def _of_a_refusal(url: MirrorUrl, action: str, what: Said) -> BackupError | None:
    """Return the error where the store does not want to."""
    if what.code == "RequestTimeTooSkewed":
        return _wrong_clock(str(url))
    if what.code in _FULL or "Quota" in what.code or what.status == _FULL_STATUS:
        return full(str(url), what.reason)
    if what.status in (401, 403) or what.code in _WRONG_KEY | _EXPIRED:
        return _denied(url, action, what)
    return None


def _of_the_network(url: MirrorUrl, what: Said, timeout: float) -> BackupError | None:
    """Return the error where a later try may work."""
    if what.is_timeout:
        return too_slow(str(url), timeout)
    busy = what.status is not None and (what.status >= 500 or what.status in _BUSY_STATUS)
    if busy or what.code in _BUSY or _is_of_the_network(what):
        return unreachable(str(url), what.reason)
    return None


def _is_of_the_network(what: Said) -> bool:
    return what.status is None and what.reason not in ("no reason given", "not encrypted")


def _denied(url: MirrorUrl, action: str, what: Said) -> MirrorDeniedError:
    from_where = _WHERE_FROM[url.scheme]
    if what.code in _EXPIRED:
        hint = f"The credentials have expired: log in again, or renew them. {from_where}"
    elif what.code in _WRONG_KEY:
        hint = f"The key is wrong, or is not of this account. {from_where}"
    elif url.scheme in _RIGHTS:
        right = _RIGHTS[url.scheme].get(action, action)
        hint = f"Give them the right {right} in {url.host!r}, or use others."
    else:
        hint = f"Give them the role 'Storage Blob Data Contributor' in {url.host!r}, or use others."
    return denied(str(url), action, what.reason, hint)


def _no_bucket(url: MirrorUrl, reason: str) -> BackupError:
    word = "container" if url.scheme == "az" else "bucket"
    return place_missing(
        str(url), reason, f"Make the {word} {url.host!r} first, or correct its name in the URL."
    )


def _other_region(
    address: str, reason: str, region: str, found: re.Match[str] | None
) -> BackupError:
    right = (found[1] or found[2]) if found else "that of the bucket"
    return place_missing(
        address,
        f"{reason}: the bucket is not in the region {region!r}",
        f"Set AWS_REGION to {right}; it is {region} now.",
    )


def _wrong_clock(address: str) -> MirrorDeniedError:
    return MirrorDeniedError(
        f"{address} refused, because the clock of this machine is wrong (RequestTimeTooSkewed).",
        state=_STAYS,
        hint="Set the clock: timedatectl set-ntp true",
        reason="RequestTimeTooSkewed",
    )


def no_credentials(url: MirrorUrl) -> MirrorDeniedError:
    """Return the error for a mirror whose credentials are nowhere."""
    return MirrorDeniedError(
        f"There are no credentials for {url}.",
        state=_STAYS,
        hint=_WHERE_FROM[url.scheme],
        reason="no credentials",
    )


def no_account(url: MirrorUrl) -> MirrorDeniedError:
    """Return the error for a container of nobody knows whom."""
    return MirrorDeniedError(
        f"The storage account of {url} is not known.",
        state=_STAYS,
        hint=_WHERE_FROM[url.scheme],
        reason="no account",
    )


def bad_credentials(url: MirrorUrl, reason: str) -> MirrorDeniedError:
    """Return the error for settings that the library does not take; ``reason``: without secrets."""
    return MirrorDeniedError(
        f"The credentials for {url} cannot be used ({reason}).",
        state=_STAYS,
        hint=_WHERE_FROM[url.scheme],
        reason=reason,
    )


def no_profile(url: MirrorUrl, name: str) -> MirrorDeniedError:
    """Return the error for a profile that is in no file."""
    return MirrorDeniedError(
        f"There is no AWS profile {name!r}, which is to be used for {url}.",
        state=_STAYS,
        hint="Make it: aws configure --profile NAME. Or set AWS_PROFILE to another.",
        reason="no such profile",
    )


def boto3_missing(url: MirrorUrl, name: str) -> MirrorDeniedError:
    """Return the error for a profile that needs more than keys."""
    return MirrorDeniedError(
        f"The AWS profile {name!r}, which is to be used for {url}, has no keys of its own but a "
        "login, a role or a program.",
        state=_STAYS,
        hint="Install what can use it: python3 -m pip install boto3",
        reason="boto3 is not installed",
    )


def no_endpoint(url: MirrorUrl, variable: str) -> MirrorDeniedError:
    """Return the error for an endpoint that is no URL."""
    return MirrorDeniedError(
        f"{url} cannot be reached: {variable} is no URL.",
        state="Nothing was sent.",
        hint=f"Begin {variable} with https://.",
        reason="no URL",
    )


def not_encrypted(url: MirrorUrl, variable: str) -> MirrorDeniedError:
    """Return the error for an endpoint without TLS that is not of this machine."""
    return MirrorDeniedError(
        f"{url} would be reached without encryption: {variable} begins with http://.",
        state="Nothing was sent.",
        hint=f"Use https:// in {variable}. Without encryption only this machine is reached.",
        reason="not encrypted",
    )


def odd_key(address: str, folder: str) -> MirrorError:
    """Return the error for a folder that cannot be listed because of somebody's object."""
    return MirrorError(
        f"{folder} at {address} cannot be listed: an object there has '//', '.' or '..' in its "
        "key.",
        state=_STAYS,
        hint="Remove or rename that object.",
        reason="odd key",
    )


def replaced_meanwhile(address: str, key: str) -> MirrorError:
    """Return the error for an object that somebody else stored at the same time."""
    return MirrorError(
        f"{key} at {address} was replaced by somebody else while it was uploaded.",
        state=_STAYS,
        hint="Try again.",
        reason="replaced meanwhile",
    )


_STAYS = "The local backups are what they were."
