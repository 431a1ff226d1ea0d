"""Alembic's configuration, described by the parent and made again in the child."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from alembic.config import CommandLine, Config

from soulsense_db.alembic.rehearsal.flask_context import application_here
from soulsense_db.alembic.rehearsal.way_back import way_back

_SIMPLE = (str, int, float, bool, type(None))


def described(config: Config) -> dict[str, Any]:
    """Return what makes the same configuration in another process, as plain values.

    ``flask``: the application that env.py may need; ``left_out``: attributes that exist in this
    process only, such as a connection; ``way_back``: what becomes of a real run that fails, a
    sentence; ``way_back_if_it_dies``: of one whose process is ended at once.
    """
    attributes: dict[Any, Any] = config.attributes
    return {
        "ini": _absolute(config.config_file_name),
        "toml": _absolute(getattr(config, "toml_file_name", None)),
        "section": config.config_ini_section,
        "x": list(getattr(config.cmd_opts, "x", None) or ()),
        "options": {
            section: {
                name: config.file_config.get(section, name, raw=True)
                for name in config.file_config.options(section)
            }
            for section in config.file_config.sections()
        },
        "flask": application_here(),
        "attributes": {k: v for k, v in attributes.items() if isinstance(v, _SIMPLE)},
        "way_back": way_back(config),
        "way_back_if_it_dies": way_back(config, dies=True),
        "left_out": sorted(str(k) for k, v in attributes.items() if not isinstance(v, _SIMPLE)),
    }


def configured(facts: dict[str, Any], *words: str) -> Config:
    """Return the configuration of ``facts``, as Alembic makes it for ``words``."""
    before = [part for one in facts["x"] for part in ("-x", one)]
    if facts["ini"]:
        before += ["-c", facts["ini"]]
    options = CommandLine().parser.parse_args([*before, "-n", facts["section"], *words])
    files: dict[str, Any] = {}
    if facts["toml"] and hasattr(Config, "get_alembic_option"):  # Alembic 1.16 and later
        files["toml_file"] = facts["toml"]
    config = Config(facts["ini"], ini_section=facts["section"], cmd_opts=options, **files)
    for section, values in facts["options"].items():
        if not config.file_config.has_section(section):
            config.file_config.add_section(section)
        for name, value in values.items():  # what a program has set, over what the files say
            if value != config.file_config.get(section, name, raw=True, fallback=None):
                config.file_config.set(section, name, value)
    config.attributes.update(facts["attributes"])
    ini = Path(facts["ini"]) if facts["ini"] else None
    if ini is not None and not has_location(config) and (ini.parent / "env.py").exists():
        # As Flask-Migrate has it.
        config.set_main_option("script_location", str(ini.parent).replace("%", "%%"))
    return config


def has_location(config: Config) -> bool:
    """Whether it says where the migrations are."""
    read = getattr(config, "get_alembic_option", config.get_main_option)
    return bool(read("script_location"))


def _absolute(path: str | os.PathLike[str] | None) -> str | None:
    return None if path is None else str(Path(path).absolute())
