"""A program: an SFTP server that lacks extensions, as many servers do that are not OpenSSH's.

Its arguments are files of the server's key and of the keys that may log in, and the names of the
extensions that it lacks. It prints its port.
"""

from __future__ import annotations

import asyncio
import os
import sys

import asyncssh
from asyncssh import sftp


async def serve(host_key: str, authorized_keys: str, lacks: list[str]) -> None:
    """Serve until the process is killed."""
    names = {name.encode() for name in lacks}
    handler = sftp.SFTPServerHandler
    handler._extensions = [one for one in handler._extensions if one[0] not in names]

    def make_server(channel: asyncssh.SSHServerChannel[bytes]) -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel)

    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        authorized_client_keys=authorized_keys,
        sftp_factory=make_server,
    )
    os.write(1, f"{server.get_port()}\n".encode())
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2], sys.argv[3:]))
