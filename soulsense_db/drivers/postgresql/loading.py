"""Have ``pg_restore`` load an archive, and make its event triggers when all else is there.

They act on statements, whoever gives them. An archive has them before what fills materialised
views: one that refuses statements would refuse that, and one that writes a row for each would
write rows that the archive has not.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from soulsense_db.drivers.postgresql.tools import Tools

_PROGRAM = "pg_restore"
# A line of its list: numbers, kind, schema and name. What is of no schema has a dash for one.
_EVENT_TRIGGER = re.compile(rb"\d+; \d+ \d+ (?:(?:COMMENT|SECURITY LABEL) - )?EVENT TRIGGER ")


def load(
    tools: Tools,
    source: Path,
    *switches: str,
    environment: Mapping[str, str],
    poll: Callable[[], object],
) -> None:
    """Load the archive ``source`` into the database that ``environment`` leads to.

    ``switches`` are those of ``pg_restore``; ``poll`` is called while it works.
    """
    with _lists(tools, source, environment) as lists:
        for chosen in lists:
            tools.run(_PROGRAM, *switches, *chosen, str(source), environment=environment, poll=poll)


@contextmanager
def _lists(
    tools: Tools, source: Path, environment: Mapping[str, str]
) -> Iterator[list[tuple[str, ...]]]:
    """Yield the switches of each run: what is to be loaded in it, and in which order."""
    with tools.reading(_PROGRAM, "--list", str(source), environment=environment) as output:
        lines = output.read().splitlines(keepends=True)
    last = [line for line in lines if _EVENT_TRIGGER.match(line)]
    if not last:
        yield [()]
        return
    first = [line for line in lines if not _EVENT_TRIGGER.match(line)]
    # One job keeps to the order. Several do not, but only one keeps to one transaction.
    parts = [first + last] if tools.jobs == 1 else [first, last]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, str(number)) for number in range(len(parts))]
        for file, part in zip(files, parts, strict=True):
            file.write_bytes(b"".join(part))
        yield [(f"--use-list={file}",) for file in files]
