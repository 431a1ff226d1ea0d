"""What the child told, as the sentences of a report."""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, cast

from soulsense_db.alembic.rehearsal.child_process import Told
from soulsense_db.alembic.rehearsal.errors import cannot_run_on_a_copy
from soulsense_db.alembic.rehearsal.report import Failure, Finding, RehearsedStep

# Those that the hook ends a migration by, and SIGINT; SIGHUP is not on Windows.
_TURNED_INTO_ERRORS = {
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, name)
}
_CANNOT_LOCATE = "Can't locate revision"


def steps_of(told: Told) -> tuple[RehearsedStep, ...]:
    """Return the steps that began."""
    seconds = {one["step"]: one["seconds"] for one in told.of("end")}
    locked: dict[str, float] = {}
    for one in told.of("times"):
        locked |= one["steps"]
    return tuple(
        RehearsedStep(
            revision=one["revision"],
            message=one["message"],
            direction=cast(Any, one["direction"]),
            database=Path(one["database"]) if one["database"] else None,
            seconds=seconds.get(one["step"]),
            locked_seconds=locked.get(str(one["step"])),
        )
        for one in told.of("begin")
    )


def require_led(told: Told) -> None:
    """Raise where the child was kept from something that cannot be done to a copy."""
    for one in told.of("refused"):
        raise cannot_run_on_a_copy(one["revision"], one["what"])


def has_died(told: Told) -> bool:
    """Whether the child's process ended at once, as a real run would, which then puts nothing back.

    The hook turns signals that a person sends into errors.
    """
    if told.timed_out or told.of("failed") or (told.has_ended and told.code == 0):
        return False
    return -told.code not in _TURNED_INTO_ERRORS


def failure_of(told: Told, *, timeout: float | None, heads: Collection[str]) -> Failure | None:
    """Return why the child did not come to its end; ``heads``: those of the copy before."""
    begun, ended = told.of("begin"), {one["step"] for one in told.of("end")}
    # Of the last step that began and did not end; a killed child tells nothing any more.
    running = next((one["revision"] for one in reversed(begun) if one["step"] not in ended), "")
    step = _named(running, begun)
    if told.timed_out:
        where = f"{step} had not come to its end" if running else "it had not come to its end"
        more = "If the migration needs longer, allow more time (--timeout, in the hook "
        more += "soulsense_rehearse_timeout)."
        return Failure(
            revision=running,
            what=f"The time limit of {timeout:g} s was reached: {where}. {more}",
        )
    failed = told.of("failed")
    if failed:
        return _of_exception(failed[0], begun, heads)
    if told.has_ended and told.code == 0:
        return _passed_over(running, step) if running else None
    who = step if running else "env.py, or a module that it imports,"
    if told.code < 0:
        name = _signal_name(-told.code)
        return Failure(revision=running, what=f"The process was ended by {name} while {who} ran.")
    if running or not told.has_ended:
        return Failure(
            revision=running, what=f"{who} ended the process itself, with exit code {told.code}."
        )
    return None  # all was told; what an application does at its exit is its own matter


def _passed_over(revision: str, step: str) -> Failure:
    """Return that a step is not at its end, and nobody heard of it."""
    what = (
        f"{step} does not come to its end, and env.py passes over its error: the real run would "
        "say nothing of it."
    )
    return Failure(revision=revision, what=what)


def _of_exception(
    one: dict[str, Any],
    begun: list[dict[str, Any]],
    heads: Collection[str],
) -> Failure:
    exception, message = one["exception"], one["message"]
    said = f"{exception}: {message}" if message else exception
    said = f"{said.rstrip('.')} ({one['where']})" if one["where"] else said
    step = _named(one["revision"], begun)
    if one["asks"]:
        who = step if one["revision"] else "env.py"
        what = (
            f"{who} asks for input. Nobody is there to answer: not here, and not in a deployment."
        )
    elif one["revision"]:
        what = f"{step} fails: {said}"
    elif one["of_alembic"] or "hint" in one:
        what = f"The migrations cannot begin: {message}"
        unknown = [head for head in heads if f"'{head}'" in message]
        if message.startswith(_CANNOT_LOCATE) and unknown:
            what = (
                f"The data is at revision {unknown[0]}, which is not among the migrations here: "
                "they are older than the data, or of another branch."
            )
    else:
        when = "Between the steps, it fails" if begun else "It fails before the first step"
        what = f"{when}: {said}"
    return Failure(
        revision=one["revision"],
        what=what if what.endswith((".", "!", "?")) else f"{what}.",
        exception=exception,
        message=message,
        statement=one["statement"],
        traceback=one["traceback"],
    )


def bypasses_of(told: Told, live: Path) -> Iterator[Finding]:
    """Yield what went past Alembic's own connections, each once."""
    seen = set()
    for one in told.of("bypass"):
        key = (one["revision"], one["file"], one["what"])
        if key in seen:
            continue
        seen.add(key)
        who = f"Step {one['revision']}" if one["revision"] else "env.py, or a module it imports,"
        file = Path(one["file"])
        which = f"the live database {file}" if file == live else str(file)
        if one["blocked"]:
            sentence = (
                f"{who} tries to {one['what']} {which} by itself, past Alembic's connection. That "
                "was stopped, so that this rehearsal does not tell what it would do."
            )
        else:
            sentence = (
                f"{who} opens {which} by itself, past Alembic's connection. It was led to the copy."
            )
        yield Finding(
            kind="bypass",
            severity="warning" if one["blocked"] else "notice",
            sentence=sentence,
            database=file,
        )


def without_effect_of(told: Told) -> Iterator[Finding]:
    """Yield the statements that did nothing, each once."""
    for revision, what in {(one["revision"], one["what"]): None for one in told.of("idle")}:
        who = f"Step {revision}" if revision else "env.py, or a module it imports,"
        yield Finding(kind="no_effect", severity="warning", sentence=f"{who} {what}.")


def live_changed(told: Told) -> Finding:
    """Return that the live database was changed, and who may have been it."""
    sentence = (
        "The live database was changed while the rehearsal ran: by somebody else, or by a program "
        "that the migration started. The rehearsal shows the data as it was before."
    )
    programs = {(one["revision"], one["name"]): None for one in told.of("program")}
    for revision, name in list(programs)[:1]:
        who = f"Step {revision}" if revision else "env.py, or a module that it imports,"
        more = f" and {len(programs) - 1} more" if len(programs) > 1 else ""
        sentence = (
            "The live database was changed while the rehearsal ran, by somebody else or by a "
            f"program of the migrations. {who} started a program ({name}){more}: see whether that "
            "writes to the database. The rehearsal shows the data as it was before."
        )
    return Finding(kind="live_changed", severity="warning", sentence=sentence)


def models_of(told: Told) -> Iterator[Finding]:
    """Yield what ``alembic check`` would still find."""
    for one in told.of("models"):
        if "failed" in one:
            sentence = f"Whether the models differ could not be told: {one['failed']}."
            yield Finding(kind="not_measured", severity="notice", sentence=sentence)
        else:
            sentence = (
                "After the upgrade, the database is not as the models describe it: "
                f"{'; '.join(one['differences'])}. 'alembic check' would report the same."
            )
            yield Finding(kind="models_differ", severity="notice", sentence=sentence)


def _named(revision: str, begun: list[dict[str, Any]]) -> str:
    """Return a step's name in a sentence: its revision, and what it says of itself."""
    message = next((one["message"] for one in begun if one["revision"] == revision), "")
    return f"Step {revision} ({message})" if message else f"Step {revision}"


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"
