"""The configuration files of the current directory, or the one that --config names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from soulsense_db.cli import output
from soulsense_db.fs import storage_errors, why_not_obeyed
from soulsense_db.option_files import is_ours, read_options, read_table
from soulsense_db.settings import DEFAULT_FILES

if TYPE_CHECKING:
    from soulsense_db.finding import AlembicConfiguration


class ProjectFiles:
    """Reads them; ``config``: the file that is named, None for those of the current directory."""

    def __init__(self, config: Path | None) -> None:
        self._config = config

    def options(
        self, wanted: Callable[[str], bool] = is_ours
    ) -> Iterator[tuple[Path, dict[str, str]]]:
        """Yield each file with its ``wanted`` options; the later one wins."""
        for path in self._obeyed if self._config is None else (self._config,):
            yield path, read_options(path, wanted)

    def merged(self, wanted: Callable[[str], bool]) -> dict[str, str]:
        """Return the ``wanted`` options of all files."""
        found: dict[str, str] = {}
        for _, options in self.options(wanted):
            found |= options
        return found

    def configurations(self) -> list[AlembicConfiguration]:
        """Return the configurations of Alembic; files of one folder belong together."""
        from soulsense_db.finding import AlembicConfiguration

        if self._config is not None:
            kind = "toml" if self._config.suffix == ".toml" else "ini"
            return [AlembicConfiguration(**{kind: self._config}, is_named=True)]
        files = {path.as_posix(): path for path in self._obeyed}
        toml = files.get("pyproject.toml")
        if toml is not None and not read_table(toml, "tool.alembic"):
            toml = None
        found = []
        if toml is not None or "alembic.ini" in files:
            found.append(AlembicConfiguration(ini=files.get("alembic.ini"), toml=toml))
        if other := files.get("migrations/alembic.ini"):
            found.append(AlembicConfiguration(ini=other))
        return found

    @cached_property
    def _obeyed(self) -> tuple[Path, ...]:
        """The files of the current directory that nobody else can write."""
        found = []
        for path in map(Path, DEFAULT_FILES):
            with storage_errors("read", path):
                if not path.exists():
                    continue
                reason = why_not_obeyed(path)
            if not reason:
                found.append(path)
                continue
            output.warn(
                f"./{path} {reason} and was not read. To read it anyway, add --config {path}"
            )
        return tuple(found)
