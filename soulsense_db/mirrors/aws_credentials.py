"""Where an S3 mirror's credentials, region and endpoint are: the same places as the AWS tools'.

Variables of the environment, web identity, containers and the instance's role are known to the
library for object stores itself. Profiles are not: they are read here.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from soulsense_db.mirrors.object_store_errors import (
    bad_credentials,
    boto3_missing,
    no_profile,
)
from soulsense_db.mirrors.url import MirrorUrl

if TYPE_CHECKING:
    from obstore.store import S3Credential

_KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}
_NEED_BOTO3 = {
    "role_arn",
    "sso_session",
    "sso_start_url",
    "credential_process",
    "credential_source",
    "source_profile",
    "web_identity_token_file",
    "login_session",
}
_OTHER_WAYS = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSettings:
    """How S3 is reached.

    Attributes:
        config: What the library is told; keys are in it, so it has no representation.
        provider: Asked for credentials each time when they are about to expire.
        region: Of the bucket.
        endpoint: Where S3 is; None for Amazon's.
        endpoint_from: The variable or file that says so.
        only_instance: Whether only the role of an instance in the cloud is left.
    """

    config: dict[str, str] = field(default_factory=dict, repr=False)
    provider: Callable[[], S3Credential] | None = field(default=None, repr=False)
    region: str = "us-east-1"
    endpoint: str | None = None
    endpoint_from: str = ""
    only_instance: bool = False


def aws_settings(url: MirrorUrl, environment: Mapping[str, str] | None = None) -> AwsSettings:
    """Find them.

    Raises:
        MirrorDeniedError: The profile is not there, or needs boto3, which is not installed.
    """
    given = os.environ if environment is None else environment
    explicit = given.get("AWS_PROFILE") or given.get("AWS_DEFAULT_PROFILE")
    name = explicit or "default"
    profile = _profile(url, name, given)
    region = given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or profile.get("region")
    endpoint, endpoint_from = _endpoint(name, profile, given)
    config: dict[str, str] = {}
    provider = None
    only_instance = False
    has_keys = bool(given.get("AWS_ACCESS_KEY_ID") and given.get("AWS_SECRET_ACCESS_KEY"))
    if has_keys or given.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true"):
        pass  # the library reads them, and these come before profiles
    elif explicit and not profile:
        raise no_profile(url, name)
    elif "aws_access_key_id" in profile and "aws_secret_access_key" in profile:
        config = {ours: profile[theirs] for theirs, ours in _KEYS.items() if theirs in profile}
    elif _NEED_BOTO3 & profile.keys():
        provider = _boto3_provider(url, name)
    else:
        only_instance = not any(given.get(way) for way in _OTHER_WAYS)
    return AwsSettings(
        config=config,
        provider=provider,
        region=region or "us-east-1",
        endpoint=endpoint,
        endpoint_from=endpoint_from,
        only_instance=only_instance,
    )


def _profile(url: MirrorUrl, name: str, given: Mapping[str, str]) -> dict[str, str]:
    """Return a profile: the file of configuration, and over it that of credentials."""
    section = name if name == "default" else f"profile {name}"
    found: dict[str, str] = {}
    for variable, usual, wanted in (
        ("AWS_CONFIG_FILE", "config", section),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name),
    ):
        path = Path(given.get(variable) or f"~/.aws/{usual}").expanduser()
        # A duplicate is no reason to refuse: the AWS tools take the last one, too.
        parser = configparser.RawConfigParser(default_section="", strict=False)
        try:
            parser.read_string(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise bad_credentials(url, f"{path}: {error.strerror}") from None
        except (configparser.Error, UnicodeDecodeError):
            # What is wrong would quote a line of it, perhaps the one with the key.
            raise bad_credentials(url, f"{path} is not a file of AWS profiles") from None
        if parser.has_section(wanted):
            found.update({key: value for key, value in parser.items(wanted) if value})
    return found


def _endpoint(
    name: str, profile: Mapping[str, str], given: Mapping[str, str]
) -> tuple[str | None, str]:
    for variable in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        if given.get(variable):
            return given[variable], variable
    if "endpoint_url" in profile:
        return profile["endpoint_url"], f"endpoint_url of the profile {name!r}"
    return None, ""


def _boto3_provider(url: MirrorUrl, name: str) -> Callable[[], S3Credential]:
    try:
        import boto3
        from botocore.exceptions import BotoCoreError
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        raise boto3_missing(url, name) from None
    try:
        return Boto3CredentialProvider(boto3.Session(profile_name=name))
    except (BotoCoreError, ValueError) as error:
        raise bad_credentials(url, f"profile {name!r}: {type(error).__name__}") from None
