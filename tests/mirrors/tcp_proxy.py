"""A network that breaks: a TCP proxy that cuts, stalls, slows down and refuses connections."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Self

_PIECE = 64 * 1024
# What lies in buffers is under way without being passed on: little, so that counts mean something.
_BUFFER = 64 * 1024


@dataclass(eq=False)  # each is itself, in a set
class _Connection:
    """One connection from a client, and the one to the target that belongs to it."""

    writers: list[asyncio.StreamWriter]
    passed: int = 0
    is_ended: bool = False

    def end(self) -> None:
        """End both directions: each end reads what was passed on before, and then the end.

        A reset makes the kernel throw away what the program has not read yet: all of it, if that
        has little of the processor.
        """
        self.is_ended = True
        for writer in self.writers:
            with contextlib.suppress(OSError):  # it has gone by itself
                writer.write_eof()

    def reset(self) -> None:
        """Close both ends so that each sees a connection reset by its peer."""
        for writer in self.writers:
            ours: socket.socket | None = writer.get_extra_info("socket")
            if ours is not None:
                with contextlib.suppress(OSError):  # closed already
                    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


@dataclass
class _Weather:
    """What happens to the bytes from now on."""

    cut_at: int | None = None
    always: bool = False
    stall_at: int | None = None
    rate: float | None = None
    passed: int = 0
    free_at: float = 0.0
    over: asyncio.Event = field(default_factory=asyncio.Event)


class TcpProxy:
    """A proxy on a free port of loopback, in a thread of its own.

    It passes everything on until it is told otherwise; bytes of both directions count.

    Args:
        target_host: Where connections go.
        target_port: The port there.

    Attributes:
        port: The port of the proxy.
    """

    def __init__(self, target_host: str, target_port: int) -> None:
        self._target = (target_host, target_port)
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcp proxy")
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._weather = _Weather()

    def __enter__(self) -> Self:
        """Begin to pass on."""
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *error: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Reset all connections, and listen no more. Doing it again is harmless."""
        if self._thread.is_alive():
            self._do(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    @property
    def passed_bytes(self) -> int:
        """How many bytes were passed on since it was last told what to do."""
        return self._weather.passed

    def pass_on(self) -> None:
        """Let everything through again, and listen again."""
        self._change(_Weather)

    def cut_after(self, size: int, *, always: bool = False) -> None:
        """Reset a connection when ``size`` bytes have been passed on from now on.

        Args:
            size: Counted over all connections; afterwards everything passes.
            always: Count in each connection, and end each of them: what was passed on arrives.
        """
        self._change(lambda: _Weather(cut_at=size, always=always))

    def stall_after(self, size: int) -> None:
        """Pass nothing on any more after ``size`` bytes; connections stay open."""
        self._change(lambda: _Weather(stall_at=size))

    def throttle(self, bytes_per_second: float) -> None:
        """Pass on so many bytes in a second, over all connections."""
        self._change(lambda: _Weather(rate=bytes_per_second))

    def refuse(self) -> None:
        """Reset all connections, and refuse new ones."""
        self._do(self._refuse())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=30)

    def _change(self, make: Callable[[], _Weather]) -> None:
        async def change() -> None:
            before, self._weather = self._weather, make()
            before.over.set()
            await self._listen()

        self._do(change())

    async def _listen(self) -> None:
        if self._server is not None:
            return
        listener = socket.create_server(("127.0.0.1", self.port))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._server = await asyncio.start_server(self._serve, sock=listener, limit=_BUFFER)
        self.port = listener.getsockname()[1]

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._connections):
            connection.reset()

    async def _end(self) -> None:
        await self._refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = _Connection([writer])
        self._connections.add(connection)
        try:
            from_target, to_target = await asyncio.open_connection(*self._target, limit=_BUFFER)
            connection.writers.append(to_target)
            await asyncio.gather(
                self._pump(reader, to_target, connection),
                self._pump(from_target, writer, connection),
            )
        except (OSError, asyncio.CancelledError):
            connection.reset()
        finally:
            for one in connection.writers:
                one.close()
            self._connections.discard(connection)
            self._tasks.discard(task)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        connection: _Connection,
    ) -> None:
        while piece := await reader.read(self._piece_size()):
            rest = piece
            while rest and not connection.is_ended:
                passing = await self._allowed(rest, connection)
                writer.write(passing)
                await writer.drain()
                rest = rest[len(passing) :]
                if self._is_cut(connection):
                    if not self._weather.always:
                        raise ConnectionResetError
                    connection.end()
        with contextlib.suppress(OSError):  # the other side closed meanwhile
            writer.write_eof()

    def _piece_size(self) -> int:
        rate = self._weather.rate
        return _PIECE if rate is None else max(1, min(_PIECE, int(rate / 10)))

    async def _allowed(self, piece: bytes, connection: _Connection) -> bytes:
        """Wait until something of ``piece`` may pass; return what may."""
        while True:
            weather = self._weather
            count = len(piece)
            if weather.cut_at is not None:
                before = connection.passed if weather.always else weather.passed
                count = max(0, min(count, weather.cut_at - before))
            if weather.stall_at is not None:
                count = min(count, weather.stall_at - weather.passed)
            if weather.rate is not None:
                await self._slowly(count, weather, weather.rate)
            if count > 0 or weather.cut_at is not None:
                weather.passed += count
                connection.passed += count
                return piece[:count]
            await weather.over.wait()

    async def _slowly(self, count: int, weather: _Weather, rate: float) -> None:
        now = self._loop.time()
        weather.free_at = max(now, weather.free_at) + count / rate
        with contextlib.suppress(TimeoutError):  # it is not over: that is the usual case
            await asyncio.wait_for(weather.over.wait(), weather.free_at - now)

    def _is_cut(self, connection: _Connection) -> bool:
        weather = self._weather
        if weather.cut_at is None:
            return False
        if weather.always:
            return connection.passed >= weather.cut_at
        if weather.passed < weather.cut_at:
            return False
        weather.cut_at = None  # once
        return True
