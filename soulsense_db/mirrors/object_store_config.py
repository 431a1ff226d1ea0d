"""The library's stores for a URL: credentials, endpoints, timeouts, retries."""

from __future__ import annotations

import http.client
import logging
import os
import shutil
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from soulsense_db.mirrors.aws_credentials import aws_settings
from soulsense_db.mirrors.object_store_errors import (
    bad_credentials,
    no_account,
    no_credentials,
    no_endpoint,
    not_encrypted,
)
from soulsense_db.mirrors.url import MirrorUrl
from soulsense_db.notices import log_event

if TYPE_CHECKING:
    from obstore.store import AzureStore, ClientConfig, GCSStore, RetryConfig, S3Store

    Store = S3Store | GCSStore | AzureStore


_FOR_EVER = timedelta(days=1)  # of a request as a whole: a slow one that goes on is no broken one
_CONNECT = 15.0
_RETRIES = 5
_METADATA_HOST = "169.254.169.254"
_METADATA_SECONDS = 2.0  # the services answer at once, and elsewhere there is nobody

_GOOGLE = (
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_BEARER_TOKEN",
    "GOOGLE_SKIP_SIGNATURE",
)
_AZURE = (
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_MASTER_KEY",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_TOKEN",
    "AZURE_STORAGE_CLIENT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_MSI_ENDPOINT",
    "AZURE_IDENTITY_ENDPOINT",
    "IDENTITY_ENDPOINT",
    "AZURE_STORAGE_USE_EMULATOR",
    "AZURE_USE_AZURE_CLI",
    "AZURE_SKIP_SIGNATURE",
)


class StoreMaker:
    """Makes stores for one URL; reads credentials when the first one is made.

    Args:
        url: Of an object store.
        timeout: Seconds without an answer.

    Attributes:
        region: The region that is asked; empty where there are none.
        sends_checksums: Whether the store is to compare a SHA-256 with what it gets (S3 alone).
    """

    def __init__(self, url: MirrorUrl, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self.region = ""
        self.sends_checksums = url.scheme == "s3"

    def store(self, seconds: float) -> Store:
        """Return a store that waits for an answer for ``seconds``, and as long between its parts.

        The time runs from the beginning of a request: what is uploaded in it must be through, too.

        Raises:
            MirrorDeniedError: There are no credentials, or no encryption.
        """
        make = {"s3": self._s3, "gs": self._gcs, "az": self._azure}[self._url.scheme]
        return make(seconds)

    def _s3(self, seconds: float) -> Store:
        from obstore.store import S3Store

        found = aws_settings(self._url)
        self.region = found.region
        if found.only_instance:
            self._ask_instance(
                os.environ.get("AWS_METADATA_ENDPOINT")
                or os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT")
                or f"http://{_METADATA_HOST}",
                "AWS_EC2_METADATA_DISABLED",
            )
        # Without the API that deletes many at once, which some stores do not have.
        config: dict[str, Any] = {"region": found.region, "disable_bulk_delete": True}
        config.update(found.config)
        if found.endpoint:
            config["endpoint"] = found.endpoint.rstrip("/")
        if self.sends_checksums:
            config["checksum_algorithm"] = "SHA256"
        return self._made(
            S3Store,
            seconds,
            found.endpoint,
            found.endpoint_from,
            config=config,
            credential_provider=found.provider,
        )

    def _gcs(self, seconds: float) -> Store:
        from obstore.store import GCSStore

        folder = Path(os.environ.get("CLOUDSDK_CONFIG") or "~/.config/gcloud").expanduser()
        usual = folder / "application_default_credentials.json"
        if not usual.exists() and not any(os.environ.get(name) for name in _GOOGLE):
            self._ask_instance(f"http://{os.environ.get('GCE_METADATA_HOST') or _METADATA_HOST}")
        endpoint, variable = _first("GOOGLE_BASE_URL", "GOOGLE_STORAGE_BASE_URL")
        return self._made(GCSStore, seconds, endpoint, variable)

    def _azure(self, seconds: float) -> Store:
        from obstore.store import AzureStore

        account, _ = _first("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")
        config: dict[str, Any] = {}
        if account:
            config["account_name"] = account
        elif not os.environ.get("AZURE_STORAGE_USE_EMULATOR"):
            raise no_account(self._url)
        key = os.environ.get("AZURE_STORAGE_KEY")  # the name that the az tool has for it
        if any(os.environ.get(name) for name in _AZURE):
            pass  # the library reads them
        elif key:
            config["account_key"] = key
        elif shutil.which("az"):
            config["use_azure_cli"] = True
        else:
            self._ask_instance(f"http://{_METADATA_HOST}")
        endpoint, variable = _first("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")
        return self._made(AzureStore, seconds, endpoint, variable, config=config)

    def _made(
        self, kind: Any, seconds: float, endpoint: str | None, variable: str, **more: Any
    ) -> Store:
        from obstore.exceptions import BaseError

        here = self._is_here(endpoint, variable)
        client: ClientConfig = {
            "allow_http": here,
            "connect_timeout": timedelta(seconds=min(self._timeout, _CONNECT)),
            "read_timeout": timedelta(seconds=seconds),
            "timeout": _FOR_EVER,
        }
        retries: RetryConfig = {
            "max_retries": _RETRIES,
            "retry_timeout": timedelta(seconds=self._timeout),
            "backoff": {
                "init_backoff": timedelta(seconds=min(0.2, self._timeout / 20)),
                "max_backoff": timedelta(seconds=self._timeout / 10),
                "base": 2,
            },
        }
        try:
            store: Store = kind(self._url.host, client_options=client, retry_config=retries, **more)
        except (BaseError, OSError, ValueError) as error:
            # Its text may have a part of a key file in it.
            raise bad_credentials(self._url, type(error).__name__) from None
        return store

    def _is_here(self, endpoint: str | None, variable: str) -> bool:
        """Return whether the endpoint is on this machine, where nobody listens in."""
        if not endpoint:
            return False
        if urlsplit(endpoint).scheme not in {"http", "https"} or not urlsplit(endpoint).hostname:
            raise no_endpoint(self._url, variable)  # the library would panic
        if urlsplit(endpoint).scheme == "https":
            return False
        if not _is_loopback(urlsplit(endpoint).hostname or ""):
            raise not_encrypted(self._url, variable)
        return True

    def _ask_instance(self, endpoint: str, forbidden_by: str = "") -> None:
        """Make sure that there is a machine in a cloud to ask: else each command would hang here.

        Raises:
            MirrorDeniedError: There is none, and it was the last place to look for credentials.
        """
        if forbidden_by and os.environ.get(forbidden_by, "").lower() == "true":
            raise no_credentials(self._url)
        parts = urlsplit(endpoint)
        seconds = min(_METADATA_SECONDS, self._timeout)
        asked = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
        try:
            asked.request("GET", "/")
            asked.getresponse()
        except (OSError, http.client.HTTPException) as error:
            log_event(logging.DEBUG, f"no machine in a cloud at {parts.hostname}: {error}")
            raise no_credentials(self._url) from None
        finally:
            asked.close()


def _first(*variables: str) -> tuple[str | None, str]:
    for name in variables:
        if value := os.environ.get(name):
            return value, name
    return None, ""


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
