"""How an SSH server is found, known and logged in to: as the user's other SSH programs do it."""

from __future__ import annotations

import logging
import os
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh
import pytest
from ssh_server import SSHServer, commands_in, free_port, ssh_server, use_home

from soulsense_db.errors import MirrorDeniedError, MirrorError, MirrorUnreachableError
from soulsense_db.mirrors import mirror_for
from soulsense_db.testing.mirror_hooks import KEY, contents, keys


@pytest.fixture(scope="module")
def running() -> Iterator[SSHServer]:
    """Run OpenSSH's server."""
    with ssh_server() as server:
        yield server


@pytest.fixture
def server(
    running: SSHServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[SSHServer]:
    """Return the server, and have a home directory as it was at the beginning."""
    use_home(running, monkeypatch)
    before = {path: path.read_bytes() for path in running.ssh.iterdir()}
    yield running
    for path in running.ssh.iterdir():
        path.unlink()
    for path, data in before.items():
        path.write_bytes(data)


def _use(url: str) -> None:
    """Set a mirror up, and use it."""
    with mirror_for(url, timeout=20) as mirror:
        mirror.prepare()
        mirror.replace(KEY, b"data")
        assert contents(mirror) == b"data"


def _place(server: SSHServer) -> Path:
    return server.root / uuid.uuid4().hex


def _refused(url: str) -> MirrorError:
    with mirror_for(url, timeout=20) as mirror, pytest.raises(MirrorError) as raised:
        mirror.prepare()
    return raised.value


def _shell(command: str) -> None:
    subprocess.run(["/bin/sh", "-c", command], check=True, capture_output=True)


def test_an_unknown_host_is_refused_and_can_be_accepted(server: SSHServer) -> None:
    """The error shows the fingerprint, and the command in it accepts that very key."""
    (server.ssh / "known_hosts").unlink()
    url = server.url(_place(server))
    error = _refused(url)
    assert isinstance(error, MirrorDeniedError)
    assert server.host_key.get_fingerprint() in str(error)
    (command,) = commands_in(error.remedy.sentence, ["echo"])
    _shell(command)
    assert f"[127.0.0.1]:{server.port} ssh-ed25519" in (server.ssh / "known_hosts").read_text()
    _use(url)


def test_a_changed_host_is_another_error(server: SSHServer) -> None:
    """A server with another key than before may be another one; nothing in the error accepts it."""
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    known = server.ssh / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.port} {other}")
    url = server.url(_place(server))
    error = _refused(url)
    assert isinstance(error, MirrorDeniedError)
    assert "another host key than the one that is known" in str(error)
    assert server.host_key.get_fingerprint() in str(error)
    assert not commands_in(error.remedy.sentence, ["echo"])
    (command,) = commands_in(error.remedy.sentence, ["ssh-keygen"])
    _shell(command)
    assert "is not known" in str(_refused(url))


def test_a_host_that_has_another_kind_of_key_changed(server: SSHServer) -> None:
    """Where a key of another kind is known, the server's own is not taken for a new one."""
    other = asyncssh.generate_private_key("ecdsa-sha2-nistp256").export_public_key().decode()
    (server.ssh / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {other}")
    error = _refused(server.url(_place(server)))
    assert isinstance(error, MirrorDeniedError)
    assert "another host key than the one that is known" in str(error)


def test_a_revoked_key_is_refused(server: SSHServer) -> None:
    """A key that was marked as revoked is not one to accept."""
    public = server.host_key.export_public_key().decode()
    with (server.ssh / "known_hosts").open("a") as stream:
        stream.write(f"@revoked * {public}")
    error = _refused(server.url(_place(server)))
    assert isinstance(error, MirrorDeniedError)
    assert "revoked" in str(error)


@pytest.mark.parametrize("setting", ["UserKnownHostsFile none", "StrictHostKeyChecking no"])
def test_no_setting_makes_any_host_a_known_one(server: SSHServer, setting: str) -> None:
    """Backups are sent to nobody whom the user has not accepted, whatever else is configured."""
    (server.ssh / "known_hosts").unlink()
    (server.ssh / "config").write_text(f"Host *\n  {setting}\n")
    assert "is not known" in str(_refused(server.url(_place(server))))


def test_the_user_s_configuration_is_followed(server: SSHServer) -> None:
    """A host's alias, port, user, key and known hosts are found where ``ssh`` finds them."""
    for name in ("id_ed25519", "known_hosts"):
        (server.ssh / name).rename(server.ssh / f"other_{name}")
    (server.ssh / "config").write_text(
        f"Host backup\n  HostName 127.0.0.1\n  Port {server.port}\n  User {server.user}\n"
        "  IdentityFile ~/.ssh/other_id_ed25519\n"
        f"  UserKnownHostsFile {server.ssh}/other_known_hosts\n"
    )
    _use(f"sftp://backup{_place(server)}")


def test_a_configuration_that_cannot_be_read_is_said_so(server: SSHServer) -> None:
    """A mistake in ``~/.ssh/config`` is named as one."""
    (server.ssh / "config").write_text("Host *\n  Port twenty\n")
    error = _refused(f"sftp://127.0.0.1{_place(server)}")
    assert isinstance(error, MirrorDeniedError)
    assert "~/.ssh" in str(error)


def test_a_login_that_is_refused_says_as_whom(
    server: SSHServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The error names the user and how to have a key accepted; no text has any of the key."""
    caplog.set_level(logging.DEBUG)
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(server.ssh / "id_ed25519")
    error = _refused(server.url(_place(server)))
    assert isinstance(error, MirrorDeniedError)
    assert f"as the user '{server.user}'" in str(error)
    assert f"ssh-copy-id -p {server.port} {server.user}@127.0.0.1" in str(error)
    secret = (server.ssh / "id_ed25519").read_text().splitlines()[1:-1]
    assert not any(line in text for line in secret for text in (str(error), caplog.text))


def test_a_user_whom_nobody_knows_is_refused(server: SSHServer) -> None:
    """An unknown user is no other error than a key that is not accepted: servers do not tell."""
    error = _refused(f"sftp://no-such-user@127.0.0.1:{server.port}{_place(server)}")
    assert isinstance(error, MirrorDeniedError)
    assert "as the user 'no-such-user'" in str(error)


def test_no_key_at_all_is_said_so(server: SSHServer) -> None:
    """Who has neither a key nor an agent is told how to make one."""
    (server.ssh / "id_ed25519").unlink()
    error = _refused(server.url(_place(server)))
    assert isinstance(error, MirrorDeniedError)
    assert "There is no key in ~/.ssh, and no SSH agent" in str(error)


def _lock(server: SSHServer) -> None:
    key = server.ssh / "id_ed25519"
    key.chmod(0o600)
    _shell(f"ssh-keygen -q -p -N 'a secret' -f {key}")


def test_a_key_with_a_passphrase_needs_an_agent(server: SSHServer) -> None:
    """The error says which key it is, and how to load it."""
    _lock(server)
    error = _refused(server.url(_place(server)))
    assert isinstance(error, MirrorDeniedError)
    assert f"ssh-add {server.ssh}/id_ed25519" in str(error)


@contextmanager
def _agent(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[None]:
    socket = folder / "agent"
    command = ["ssh-agent", "-D", "-a", str(socket)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            assert process.poll() is None
            os.sched_yield()
        patch.setenv("SSH_AUTH_SOCK", str(socket))
        yield
    finally:
        process.terminate()
        process.wait()


def test_the_agent_s_keys_are_used(
    server: SSHServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that only the agent has, is enough."""
    key = tmp_path / "key"
    (server.ssh / "id_ed25519").rename(key)
    key.chmod(0o600)
    with _agent(tmp_path, monkeypatch):
        _shell(f"ssh-add -q {key}")
        key.unlink()
        _use(server.url(_place(server)))


def test_below_the_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """``/~/`` is where the server lets the user begin."""
    begin = tempfile.gettempdir()
    with ssh_server(subsystem=f"internal-sftp -d {begin}") as server:
        use_home(server, monkeypatch)
        place = server.root.relative_to(begin) / "place"
        _use(server.url(f"/~/{place}"))
        assert (server.root / "place" / KEY).read_bytes() == b"data"
        with mirror_for(server.url(f"/~/{place}")) as mirror:
            assert keys(mirror) == [KEY]


def test_a_server_without_sftp_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that has only a shell is no mirror."""
    with ssh_server(subsystem="") as server:
        use_home(server, monkeypatch)
        error = _refused(server.url(_place(server)))
    assert "offers no SFTP" in str(error)


def test_a_user_who_may_only_read_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing right is named; what may be done goes on working."""
    with ssh_server() as server:
        use_home(server, monkeypatch)
        place = _place(server)
        _use(server.url(place))
        for path in (place / KEY, (place / KEY).parent, place):
            path.chmod(path.stat().st_mode & 0o555)
        with mirror_for(server.url(place)) as mirror:
            assert contents(mirror, KEY) == b"data"
            with pytest.raises(MirrorDeniedError, match="to write"):
                mirror.replace(KEY, b"other")
            with pytest.raises(MirrorDeniedError, match="to write"):
                mirror.create("another/app.db", b"other")
            with pytest.raises(MirrorDeniedError, match="to delete"):
                mirror.delete(KEY)
            assert contents(mirror, KEY) == b"data"


def test_nobody_there_is_unreachable(server: SSHServer) -> None:
    """A host that has no name, and a port where nobody listens: later it may work."""
    for url in (f"sftp://127.0.0.1:{free_port()}/srv", "sftp://no-such-host.invalid/srv"):
        assert isinstance(_refused(url), MirrorUnreachableError)
