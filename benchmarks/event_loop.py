"""How long an event loop ever stood still while a large database was backed up and restored in it.

python3 benchmarks/event_loop.py [MEGABYTES] [ROUNDS]

A task wakes every millisecond; what is told is the longest time by which it came late. Beside it
stands what another process, which does nothing else, met at the same time: so much of it is the
machine's doing.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import sqlalchemy as sa
from speed import make_database, numbers
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from soulsense_db import AsyncBackupManager

_TICK_SECONDS = 0.001


_OTHER = f"""
import sys, threading, time
longest, over = 0.0, threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
while not over.is_set():
    before = time.perf_counter()
    time.sleep({_TICK_SECONDS})
    longest = max(longest, time.perf_counter() - before - {_TICK_SECONDS})
print(longest)
"""


async def longest_pause(work: Callable[[], Awaitable[object]]) -> tuple[float, float, float]:
    """Return the longest pause of the loop during ``work``, another process's, and the time."""
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(_TICK_SECONDS)
            longest = max(longest, time.perf_counter() - before - _TICK_SECONDS)

    other = subprocess.Popen(
        [sys.executable, "-c", _OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.2)
    longest = 0.0
    began = time.perf_counter()
    await work()
    seconds = time.perf_counter() - began
    await asyncio.sleep(10 * _TICK_SECONDS)  # else the last pause would not be seen
    ticking.cancel()
    told, _ = other.communicate()
    return longest, float(told), seconds


async def measure(engine: AsyncEngine | sa.Engine, directory: Path, rounds: int) -> None:
    """Measure each kind of work ``rounds`` times and print."""
    manager = AsyncBackupManager(engine, directory)

    async def blocking() -> object:
        return manager.sync_manager.create()

    async def idle() -> None:
        await asyncio.sleep(2)

    async def making_it() -> None:
        AsyncBackupManager(engine, directory)

    kinds: dict[str, Callable[[], Awaitable[object]]] = {
        "nothing": idle,
        "the constructor": making_it,
        "await create": manager.create,
        "await verify": lambda: manager.verify("latest"),
        "await restore": lambda: manager.restore("latest"),
        "create, blocking": blocking,
    }
    for name, work in kinds.items():
        found = [await longest_pause(work) for _ in range(rounds)]
        loop, other, seconds = (statistics.median(values) for values in zip(*found, strict=True))
        worst = max(pause for pause, _, _ in found)
        print(
            f"  {name:18} {loop * 1000:7.1f} ms (worst {worst * 1000:.1f}), another process "
            f"{other * 1000:.1f} ms, of {seconds:.2f} s",
            flush=True,
        )
        for info in (await manager.list())[1:]:
            await manager.delete(info)


def main() -> None:
    """Measure with an engine for async code, and with one for blocking code."""
    megabytes, rounds = numbers(500, 3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_database(folder / "large.db", megabytes)
        print(f"{megabytes} MB, longest pause of the event loop: median of {rounds} rounds")
        print("aiosqlite")
        engine = create_async_engine(f"sqlite+aiosqlite:///{folder / 'large.db'}")
        asyncio.run(measure(engine, folder / "a", rounds))
        print("sqlite3")
        asyncio.run(
            measure(sa.create_engine(f"sqlite:///{folder / 'large.db'}"), folder / "b", rounds)
        )


if __name__ == "__main__":
    main()
