"""One connection to an SSH server, and the event loop that it lives in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import asyncssh

from soulsense_db.errors import BackupError, MirrorError
from soulsense_db.mirrors.errors import denied, failed, full, too_slow, unreachable
from soulsense_db.mirrors.sftp_server import Server
from soulsense_db.mirrors.ssh_errors import (
    bad_settings,
    changed_host,
    login_refused,
    no_sftp,
    no_user,
    refused_host,
    unknown_host,
)
from soulsense_db.mirrors.url import MirrorUrl
from soulsense_db.notices import ignoring, log_ignored

T = TypeVar("T")

_KEYS = ("id_ed25519_sk", "id_ecdsa_sk", "id_ed448", "id_ed25519", "id_ecdsa", "id_rsa", "id_dsa")
_OF_ALL = Path("/etc/ssh/ssh_known_hosts")
_USUAL_PORT = 22
# Servers say "Failure" for a full disk as for anything else; below that it is taken for full.
_LITTLE = 1024 * 1024
_CLOSING_SECONDS = 1.0
# The library prefers ChaCha20, which takes it several calls for each packet. With these, where the
# server has them, an upload takes about three quarters of that time.
_FAST_CIPHERS = "^aes256-gcm@openssh.com,aes128-gcm@openssh.com"

# After the kinds that are known of a host: else one with a new key of another kind could only say
# that both have no kind in common.
_MORE_HOST_KEYS = (
    "+ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,"
    "rsa-sha2-512,rsa-sha2-256"
)


class _HostKey(asyncssh.SSHClient):
    """What is asked when a server has a key that is not known."""

    host = ""
    port = _USUAL_PORT
    key: asyncssh.SSHKey | None = None

    def validate_host_public_key(
        self, host: str, addr: str, port: int, key: asyncssh.SSHKey
    ) -> bool:
        """Refuse it, and remember it for the error."""
        self.host, self.port, self.key = host, port, key
        return False


class SSHConnection:
    """A connection that is made when it is needed, and again after it broke.

    Args:
        url: Where the server is.
        path: The directory there, as the server takes it.
        timeout: Seconds without any answer after which it counts as broken.
    """

    def __init__(self, url: MirrorUrl, path: str, *, timeout: float) -> None:
        self._url = url
        self._path = path
        self._address = str(url)
        self.timeout = timeout
        self._runner: asyncio.Runner | None = None
        self._connection: asyncssh.SSHClientConnection | None = None
        self._client: asyncssh.SFTPClient | None = None
        self._unused: list[Callable[[], Awaitable[None]]] = []

    def run(self, action: str, work: Callable[[Server], Coroutine[Any, Any, T]]) -> T:
        """Return what ``work`` does with the connection; its errors are those of a mirror.

        Args:
            action: What it is for, a verb.
            work: Called with the server.

        Raises:
            MirrorError: It failed.
        """
        if self._runner is None:
            self._runner = asyncio.Runner()
        # Not as the result of a task: Runner.run() calls signal.signal(), which makes a text of it,
        # and that takes longer than to receive it.
        results: list[T] = []
        try:
            self._runner.run(self._do(work, results))
        except (asyncssh.Error, OSError) as error:
            raise self._runner.run(self._error_of(error, action)) from error
        return results[0]

    async def _do(self, work: Callable[[Server], Coroutine[Any, Any, T]], results: list[T]) -> None:
        await self._close_unused()
        client = await self._connected()
        results.append(await work(self._server_of(client)))

    def _server_of(self, client: asyncssh.SFTPClient) -> Server:
        assert self._connection is not None
        version = str(self._connection.get_extra_info("server_version", ""))
        # It does one thing after the other; of another server nobody knows.
        return Server(client, self.timeout, writes_in_order="OpenSSH" in version)

    def close_now(self, close: Callable[[], Awaitable[None]]) -> None:
        """Have something closed; no connection is made for that."""
        self._unused.append(close)
        if self._runner is not None:
            self._runner.run(self._close_unused())

    def close_later(self, close: Callable[[], Awaitable[None]]) -> None:
        """Have something closed before the next work: where no event loop may be run."""
        self._unused.append(close)

    def close(self) -> None:
        """Close it."""
        if self._runner is None:
            return
        self._runner.run(self._close())
        self._runner.close()
        self._runner = None

    async def _close_unused(self) -> None:
        while self._unused:
            with ignoring(
                OSError, asyncssh.Error, what=f"A file was not closed at {self._address}"
            ):
                await self._unused.pop()()

    async def _close(self) -> None:
        await self._close_unused()
        connection, self._connection, self._client = self._connection, None, None
        if connection is None:
            return
        connection.close()
        with ignoring(OSError, asyncssh.Error, what="An SSH connection was not closed in time"):
            async with asyncio.timeout(_CLOSING_SECONDS):
                await connection.wait_closed()
            return
        connection.abort()

    async def _connected(self) -> asyncssh.SFTPClient:
        if self._client is not None:
            return self._client
        try:
            base = asyncssh.SSHClientConnectionOptions(
                config=(),  # the user's own
                host=self._url.host,
                port=self._url.port or (),
                username=self._url.user or (),
                connect_timeout=self.timeout,
                login_timeout=self.timeout,
            )
            files = _files_of_known_hosts(base)
            known = asyncssh.import_known_hosts("".join(map(_text_of, files)))
        except ValueError as error:
            raise self._settings_error(error) from error
        options = asyncssh.SSHClientConnectionOptions(
            base,
            known_hosts=known,
            encryption_algs=() if base.config.get("Ciphers") else _FAST_CIPHERS,
            server_host_key_algs=() if base.config.get("HostKeyAlgorithms") else _MORE_HOST_KEYS,
        )
        asked = _HostKey()
        try:
            async with asyncio.timeout(self.timeout):
                self._connection = await asyncssh.connect(
                    self._url.host,
                    self._url.port or (),
                    options=options,
                    client_factory=lambda: asked,
                )
                self._client = await self._connection.start_sftp_client()
        except asyncssh.HostKeyNotVerifiable as error:
            raise self._host_error(error, asked, known, files) from error
        except asyncssh.KeyExchangeFailed as error:
            raise failed(self._address, error.reason) from error
        except asyncssh.PermissionDenied as error:
            raise self._login_error(base) from error
        except (asyncssh.ChannelOpenError, asyncssh.SFTPError) as error:
            raise no_sftp(self._address) from error
        except ValueError as error:  # a key that cannot be read
            raise bad_settings(self._address, str(error)) from error
        return self._client

    def _settings_error(self, error: ValueError) -> MirrorError:
        if str(error).startswith("Unknown local username"):
            return no_user(self._address)
        return bad_settings(self._address, str(error))

    def _host_error(
        self,
        error: asyncssh.HostKeyNotVerifiable,
        asked: _HostKey,
        known: asyncssh.SSHKnownHosts,
        files: list[Path],
    ) -> MirrorError:
        if asked.key is None:
            return refused_host(self._address, error.reason)
        name = _name_of(asked.host, asked.port)
        fingerprint = asked.key.get_fingerprint()
        if _is_known(known, name):
            return changed_host(
                self._address, name=name, fingerprint=fingerprint, known_hosts=files[0]
            )
        return unknown_host(
            self._address,
            name=name,
            fingerprint=fingerprint,
            public_key=asked.key.export_public_key().decode().strip(),
            known_hosts=files[0],
        )

    def _login_error(self, options: asyncssh.SSHClientConnectionOptions) -> MirrorError:
        keys = _files_of_keys(options)
        return login_refused(
            self._address,
            self._url,
            user=options.username,
            keys=keys,
            locked=[path for path in keys if _has_passphrase(path)],
            has_agent=bool(options.agent_path),
        )

    async def _error_of(self, error: BaseException, action: str) -> BackupError:
        """Return the error of the tree; a connection that is broken is made anew the next time."""
        if isinstance(error, asyncssh.SFTPError) and not isinstance(
            error, asyncssh.SFTPConnectionLost | asyncssh.SFTPNoConnection
        ):
            return await self._refusal(error, action)
        if self._connection is not None:
            self._connection.abort()
        self._connection = self._client = None
        await self._close_unused()  # of its files: what was under way has ended
        if isinstance(error, TimeoutError):
            return too_slow(self._address, self.timeout)
        return unreachable(self._address, _reason_of(error))

    async def _refusal(self, error: asyncssh.SFTPError, action: str) -> MirrorError:
        reason = error.reason or "the server does not say why"
        if isinstance(error, asyncssh.SFTPPermissionDenied | asyncssh.SFTPWriteProtect):
            hint = "Check the owner and the permissions of the directory on the server."
            return denied(self._address, action, reason, hint)
        if isinstance(error, asyncssh.SFTPNoSpaceOnFilesystem | asyncssh.SFTPQuotaExceeded):
            return full(self._address, reason)
        if isinstance(error, asyncssh.SFTPFailure) and await self._is_full():
            return full(self._address, reason)
        return failed(self._address, f"could not {action}: {reason}")

    async def _is_full(self) -> bool:
        assert self._client is not None
        try:
            free = await self._server_of(self._client).free_bytes(self._path)
        except (OSError, asyncssh.Error) as error:
            log_ignored(f"{self._address} does not tell how much space is free", error)
            return False
        return free is not None and free < _LITTLE


def _reason_of(error: BaseException) -> str:
    if isinstance(error, asyncssh.Error):
        return error.reason or type(error).__name__
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _files_of_known_hosts(options: asyncssh.SSHClientConnectionOptions) -> list[Path]:
    """Return where known hosts are looked for; the first one is where more may be put.

    "none", which turns the look off elsewhere, means here what it says: no host is known.
    """
    given = options.known_hosts
    named = given if isinstance(given, list) else []
    files = [Path(name).expanduser() for name in named if isinstance(name, str)]
    usual = Path.home() / ".ssh" / "known_hosts"
    return [*(files or [usual]), _OF_ALL] if given is not None else [usual.with_name("nowhere")]


def _text_of(path: Path) -> str:
    try:
        return f"{path.read_text(encoding='utf-8', errors='replace')}\n"
    except FileNotFoundError:
        return ""


def _name_of(host: str, port: int) -> str:
    """Return how a file of known hosts names it."""
    return host if port == _USUAL_PORT else f"[{host}]:{port}"


def _is_known(known: asyncssh.SSHKnownHosts, name: str) -> bool:
    return bool(known.match(name, "", None)[0])


def _files_of_keys(options: asyncssh.SSHClientConnectionOptions) -> list[Path]:
    given = options.config.get("IdentityFile", ())
    named = given if isinstance(given, list) else []
    names = [str(name) for name in named] or [f"~/.ssh/{name}" for name in _KEYS]
    paths = (Path(name).expanduser() for name in names)
    return [path for path in paths if path.is_file()]


def _has_passphrase(path: Path) -> bool:
    try:
        asyncssh.read_private_key(path)
    except (asyncssh.KeyEncryptionError, asyncssh.KeyImportError) as error:
        return "passphrase" in str(error).lower()
    except OSError as error:
        log_ignored(f"{path} cannot be read", error)
    return False
