"""Steps in a row: all bytes arrive, memory stays flat, and an error is that of who was first."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest

from soulsense_db.codecs import Reader, Writer, piped

_DESCRIPTORS = Path("/proc/self/fd")


def _copy(source: Reader, target: Writer) -> None:
    while data := source.read(70_000):
        target.write(data)


def _upper(source: Reader, target: Writer) -> None:
    while data := source.read(1000):
        target.write(data.upper())


class _FirstError(Exception):
    pass


class _SecondError(Exception):
    pass


def _first_fails(source: Reader, target: Writer) -> None:
    target.write(source.read(10))
    raise _FirstError


def _second_fails(source: Reader, _target: Writer) -> None:
    source.read(10)
    raise _SecondError


def _second_misses_the_end(source: Reader, _target: Writer) -> None:
    while source.read(1000):
        pass
    raise _SecondError


def test_all_bytes_pass_through_both_steps() -> None:
    """What the first writes, in pieces of any size, is what the second reads."""
    data = b"a dear diary " * 100_000
    target = io.BytesIO()
    piped(piped(_copy, _upper), _copy)(io.BytesIO(data), target)
    assert target.getvalue() == data.upper()


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (_first_fails, _copy, _FirstError),
        (_copy, _second_fails, _SecondError),
        (_first_fails, _second_misses_the_end, _FirstError),
    ],
)
def test_the_error_is_that_of_who_was_first(
    first: object, second: object, expected: type[Exception]
) -> None:
    """A step that fails ends the other one, whose own trouble with that is not what is raised."""
    with pytest.raises(expected):
        piped(first, second)(io.BytesIO(b"x" * 10_000_000), io.BytesIO())  # type: ignore[arg-type]
    assert not [one for one in threading.enumerate() if one.name.startswith("soulsense_db-pipe")]


@pytest.mark.skipif(not _DESCRIPTORS.exists(), reason="the system does not list descriptors")
@pytest.mark.parametrize("error", [_SecondError, KeyboardInterrupt])
def test_a_second_step_that_fails_before_it_reads_leaves_nothing_open(
    error: type[BaseException],
) -> None:
    """The first is not begun then, and the pipe between them is closed."""
    begun = False

    def first(_source: Reader, _target: Writer) -> None:
        nonlocal begun
        begun = True

    def second(_source: Reader, _target: Writer) -> None:
        raise error

    before = len(list(_DESCRIPTORS.iterdir()))
    with pytest.raises(error):
        piped(first, second)(io.BytesIO(b"x"), io.BytesIO())
    assert not begun
    assert len(list(_DESCRIPTORS.iterdir())) == before
