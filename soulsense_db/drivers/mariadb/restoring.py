"""Load a backup beside the live database, and put it in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy.engine import Connection

from soulsense_db.drivers.mariadb import (
    archive,
    cluster,
    inventory,
    kept,
    loading,
    notes,
    programs,
    references,
    schemas,
    snapshot,
)
from soulsense_db.drivers.mariadb.archive import Description
from soulsense_db.drivers.mariadb.errors import live_errors
from soulsense_db.drivers.mariadb.gates import Connections
from soulsense_db.drivers.mariadb.inventory import Trigger
from soulsense_db.drivers.mariadb.login import Login
from soulsense_db.drivers.mariadb.notes import Kept, Notes
from soulsense_db.drivers.mariadb.restore_errors import in_a_cluster
from soulsense_db.drivers.mariadb.schemas import Work
from soulsense_db.drivers.mariadb.statements import execute, literal, literals, quoted, rows
from soulsense_db.drivers.mariadb.swap import Swap, missing_triggers
from soulsense_db.drivers.mariadb.tools import Tools
from soulsense_db.drivers.mariadb.write_lock import write_locked
from soulsense_db.drivers.results import WriteLock
from soulsense_db.notices import cleaning_up, warn
from soulsense_db.progress import Progress


@dataclass(frozen=True, slots=True)
class Prepared:
    """A backup that was loaded beside the live database; ``texts``: its programs.

    ``sequences``: those made in the live schema for it.
    """

    work: Work
    described: Description
    texts: dict[str, bytes]
    sequences: tuple[str, ...]

    def is_of(self, source: Path) -> bool:
        """Whether it was made of the backup file ``source``, whatever its name is now."""
        return archive.read(source).sha256 == self.described.sha256


@contextmanager
def prepared(
    source: Path, *, login: Login, tools: Tools, name: str, progress: Progress | None
) -> Iterator[Prepared]:
    """Load ``source`` beside the live database; what nothing uses then is dropped after the block.

    Where the tables are kept that ``source`` was made of, nothing is to be loaded.
    """
    described = archive.read(source)
    size = max(1, described.size_bytes)

    def poll() -> None:
        if progress is not None:
            progress(0, size)

    with live_errors(name), schemas.new_work(login, name=name) as empty, ExitStack() as stack:
        stack.callback(_drop_unless_swapped, empty, name)
        keeper, live = empty.keeper, empty.live
        if inventory.is_in_a_cluster(keeper):
            cluster.require_backup(described, name=name)
        work = replace(empty, kept=kept.schema_of(keeper, live, described))
        made = _missing_sequences(work, described)
        if work.kept is None:
            loading.fill(
                source, work.new, target=live, login=login, tools=tools, name=name, poll=poll
            )
        else:
            loading.load_programs(
                source, described, work.kept, login=login, tools=tools, name=name, poll=poll
            )
            programs.drop_triggers(keeper, described.triggers, work.kept)
            programs.create_triggers(keeper, described.triggers, work.kept)
        programs.drop_triggers(keeper, described.triggers, work.coming)
        texts = {
            section: b"".join(loading.statements_of(source, described, section, live))
            for section in programs.SECTIONS
            if section in described.sections
        }
        poll()
        yield Prepared(work, described, texts, made)


def _drop_unless_swapped(work: Work, name: str) -> None:
    """Drop what was not used; what was, has the only copy of what was live before.

    Where it cannot be told, all of it stays for the next one.
    """
    failed = f"What was made beside {work.live} could not be dropped"
    with cleaning_up(failed), live_errors(name):
        found = cluster.settled(work.keeper, work.name)
        if found is not None and found[1] in (notes.AFTER, notes.KEPT):
            return
        if found is not None:
            # The notes alone know the triggers that are missing: the next one makes them again.
            if missing_triggers(work.keeper, work.live, found[0].old_triggers):
                return
            _drop_sequences(work.keeper, work.live, found[0].sequences, name, work=work)
        schemas.drop_all(work.keeper, work, name)


def put_in_place(
    ready: Prepared,
    *,
    login: Login,
    tools: Tools,
    name: str,
    lock_timeout: float,
    write_lock: WriteLock | None,
    keeps: str | None,
) -> None:
    """Put what is ``ready`` in the place of the live database, and drop that, or keep it.

    ``write_lock`` is released when the swap is next in line.
    """
    work = ready.work
    with live_errors(name):
        with ExitStack() as stack:
            alone = stack.enter_context(
                schemas.only_swap(login, work.keeper, name=name, timeout=lock_timeout)
            )
            connections = Connections(login, stack, name=name, lock_timeout=lock_timeout)
            is_in_a_cluster = inventory.is_in_a_cluster(work.keeper)
            if is_in_a_cluster:
                stack.enter_context(_left_to_others(work))
                _require_kept(write_lock, keeps, name)
            else:
                live = inventory.take_triggers(work.keeper, work.live)
                connections.fill(_most_tables(live, ready.described.triggers))
            if write_lock is None and not is_in_a_cluster:
                held = write_locked(login, name=name, lock_timeout=lock_timeout)
                write_lock = stack.enter_context(held)
            before = inventory.take(work.keeper, work.live, name=name)
            keeping: Kept | None = None
            if keeps is not None:
                broken = snapshot.broken_views(work.keeper, work.live, before)
                if broken:
                    warn(
                        f"What cannot be read in {name} is not part of what an undo goes back to: "
                        f"view {', '.join(broken)}."
                    )
                left_out = (*ready.sequences, *broken)
                before = inventory.without(before, left_out)
                sections = snapshot.programs_of(login, tools, before, name=name, without=left_out)
                keeping = Kept(purpose=keeps, inventory=before, sections=sections)
            noted = Notes(
                old_triggers=before.triggers,
                new_triggers=ready.described.triggers,
                programs=ready.texts,
                sequences=ready.sequences,
                kept=keeping,
                default=programs.default_of(work.keeper, work.live),
            )
            notes.write(work.keeper, work.name, noted)
            if is_in_a_cluster:
                if alone is not None:
                    alone.renew()
                cluster.swap(work.keeper, work, noted, name=name)
            else:
                assert write_lock is not None
                swap = Swap(
                    login,
                    work,
                    noted,
                    name=name,
                    lock_timeout=lock_timeout,
                    write_lock=write_lock,
                    connections=connections,
                )
                swap.run()
            _part(work.keeper, work, name)
            programs.replace(
                login,
                tools,
                work.keeper,
                noted.programs,
                name=name,
                default=noted.default,
                wanted=ready.described.items,
            )
        _end(work.keeper, work, noted, name)
        if work.kept is not None:  # it has no tables any more
            emptied = Work(work.kept.removesuffix(schemas.OLD), work.live, work.keeper)
            schemas.drop_all(work.keeper, emptied, name)


def _most_tables(*triggers: Iterable[Trigger]) -> int:
    """Return how many tables have triggers, at most."""
    return max(len({trigger.table for trigger in some}) for some in triggers)


@contextmanager
def _left_to_others(work: Work) -> Iterator[None]:
    """When the block fails, let others finish what is left of it, without waiting for us."""
    try:
        yield
    except BaseException:
        if work.lease is not None:
            work.lease.release()
        raise


def _require_kept(write_lock: WriteLock | None, keeps: str | None, name: str) -> None:
    """Raise where writers would have to be kept out, for what they write would be lost."""
    if write_lock is not None and keeps is None:
        raise in_a_cluster(name, "what it replaces could not be kept")


def _part(connection: Connection, work: Work, name: str) -> None:
    """Have no foreign key lead from the live tables to others, or to them from replaced ones."""
    both = (work.old, work.live)
    references.bring_home(connection, both, work.live, noted_in=work.name, name=name)


def _end(connection: Connection, work: Work, noted: Notes, name: str) -> None:
    """Drop what is not needed any more after a swap, once all is there that it left to do."""
    if noted.kept is None:
        schemas.drop_all(connection, work, name)
        return
    _drop_sequences(connection, work.old, noted.sequences, name, work=work)
    with cleaning_up(f"The database {work.new} could not be dropped"), live_errors(name):
        schemas.drop(connection, work.new)
    notes.set_kept(connection, work.name)


def _missing_sequences(work: Work, described: Description) -> tuple[str, ...]:
    """Make the sequences that the live database lacks: a default may name them when it is made.

    They are noted before, and have a comment: one by that name may be made by others meanwhile.
    """
    there = set(inventory.renamed(work.keeper, work.live))
    missing = [one.name for one in described.items if one.kind == "SEQUENCE"]
    missing = [one for one in missing if one not in there]
    if missing:
        noted = Notes(old_triggers=(), new_triggers=(), programs={}, sequences=tuple(missing))
        notes.write(work.keeper, work.name, noted)
    for one in missing:
        made = f"CREATE SEQUENCE {quoted(work.live, one)} COMMENT = {literal(work.name)}"
        execute(work.keeper, made)
    return tuple(missing)


def _drop_sequences(
    connection: Connection, schema: str, made: tuple[str, ...], name: str, *, work: Work
) -> None:
    """Drop those of ``made`` that this restore has made."""
    for (one,) in rows(
        connection,
        f"SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {literal(schema)}"
        f" AND TABLE_NAME IN {literals(made)} AND TABLE_COMMENT = {literal(work.name)}",
    ):
        with cleaning_up(f"The sequence {one} could not be dropped"), live_errors(name):
            execute(connection, f"DROP SEQUENCE IF EXISTS {quoted(schema, str(one))}")


def is_interrupted(login: Login, *, name: str) -> bool:
    """Whether something is missing in the live database after a swap. Nothing is changed."""
    with login.connected(name=name) as connection, live_errors(name):
        for schema in schemas.ours(connection, login.database):
            found = notes.read(connection, schema)
            if found is None or found[1] == notes.KEPT:
                continue
            noted, table = found
            if table == notes.AFTER:
                return True
            if noted.old_triggers and not schemas.is_in_use(
                connection, schema, live=login.database
            ):
                return True
    return False


def finish_interrupted(login: Login, tools: Callable[[], Tools], *, name: str) -> None:
    """Tidy up what processes that were killed have left of this database.

    A swap that was done gets its programs; one that was not, its triggers back.
    """
    with login.connected(name=name) as connection:
        live = login.database
        finished = notes.copies(connection, schemas.ours(connection, live))
        for one in finished:  # earlier versions left foreign keys there
            there = (one + schemas.OLD,)
            references.bring_home(connection, there, live, noted_in=one, name=name)

        def is_awaited(schema: str) -> bool:
            found = notes.read(connection, schema)
            if found is None or found[1] == notes.KEPT:
                return False
            noted, table = found
            return table == notes.AFTER or bool(noted.old_triggers or noted.new_triggers)

        for work in schemas.left_by_a_kill(
            login, connection, name=name, without=finished, is_awaited=is_awaited
        ):
            found = None if work.is_remnant else cluster.settled(connection, work.name)
            if found is None:
                schemas.drop_all(connection, work, name)
                continue
            noted, table = found
            if table == notes.KEPT:
                continue
            is_swapped = table == notes.AFTER
            wanted = noted.new_triggers if is_swapped else noted.old_triggers
            missing = missing_triggers(connection, work.live, wanted)
            programs.create_triggers(connection, missing, work.live)
            if is_swapped:
                _part(connection, work, name)
                programs.replace(
                    login,
                    tools(),
                    connection,
                    noted.programs,
                    name=name,
                    default=noted.default,
                )
                _end(connection, work, noted, name)
            else:
                _drop_sequences(connection, work.live, noted.sequences, name, work=work)
                schemas.drop_all(connection, work, name)


def rebuild(source: Path, *, login: Login, tools: Tools, name: str, lock_timeout: float) -> None:
    """Make the live database, which is missing, of ``source``."""
    archive.require_whole(source)
    with login.connected(name=name) as connection:
        execute(connection, f"CREATE DATABASE {quoted(login.database)}")
        try:
            making = prepared(source, login=login, tools=tools, name=name, progress=None)
            with making as ready:
                put_in_place(
                    ready,
                    login=login,
                    tools=tools,
                    name=name,
                    lock_timeout=lock_timeout,
                    write_lock=None,
                    keeps=None,
                )
        except BaseException:
            with cleaning_up(f"The database {name} could not be dropped"), live_errors(name):
                if not inventory.renamed(connection, login.database):
                    schemas.drop(connection, login.database)
            raise
