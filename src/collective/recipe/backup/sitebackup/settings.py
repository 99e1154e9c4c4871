"""The settings of the user: from files, then variables, then the command line.

::

    [tool.collective-backup] of pyproject.toml  \\
    sitebackup.toml                              | what comes later wins,
    [tool.sitebackup] of pyproject.toml          | option by option
    COLLECTIVE_BACKUP_*, first those of .env     |
    SITEBACKUP_*                                 |
    --set NAME=VALUE, --keep and its like       /

The files lie in the directory of the file that ``--config`` names, else in the working directory.
The names are those of the options (see options), and some for the place of the site, which buildout
knows by itself.  A value from any source is a text, and is read like the options of a buildout
part.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from collective.recipe.backup.errors import ConfigurationError
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.options import declarations
from collective.recipe.backup.options.optionkinds import PATH, PLACE
from collective.recipe.backup.sitebackup import collective, toml

CONFIG = "sitebackup.toml"
PYPROJECT = "pyproject.toml"
TABLE = "sitebackup"
PREFIX = "SITEBACKUP_"
CONFIG_VARIABLE = "SITEBACKUP_CONFIG"
PASSPHRASE_VARIABLE = "SITEBACKUP_PASSPHRASE"  # noqa: S105  its name

OF_THE_SITE = {
    "name": "what the directories of backups are named after, as a part of a buildout is",
    "base_dir": "where relative paths start; by default the directory of the configuration",
    "var_dir": "the directory with filestorage/Data.fs",
    "zope_conf": "the zope.conf of the site",
    "zeo_conf": "the zeo.conf of the site",
}
"""Settings besides the options, which a buildout part needs not."""
PATHS_OF_THE_SITE = ("base_dir", "var_dir", "zope_conf", "zeo_conf")


@dataclass(frozen=True)
class SiteSettings:
    """All settings: texts by name, and sentences about them."""

    directory: Path  # of the configuration
    texts: dict[str, str] = field(default_factory=dict)  # values by name of the option
    origins: list[str] = field(default_factory=list)  # all sources of settings
    problems: list[str] = field(default_factory=list)  # sentences about mistakes
    notes: list[str] = field(default_factory=list)  # sentences for the user

    def add(self, texts: Mapping[str, str], origin: str) -> None:
        """Add *texts*, which come from *origin*; they replace earlier ones."""
        if texts:
            self.origins.append(origin)
        for name in texts:
            for spelling in _spellings(name):
                self.texts.pop(spelling, None)
        for name, text in texts.items():
            if name not in known_names():
                self.problems.append(f"{origin}: there is no option {name}{_nearest(name)}")
            elif _is_homeless(name, text):
                self.problems.append(f"{origin}: {name} has a ~, but this user has no home")
            else:
                self.texts[name] = text


def gathered(
    config: Path | None, given: Sequence[tuple[str, str]], environment: Mapping[str, str]
) -> SiteSettings:
    """Return all settings; *given* are those of the command line, in their order.

    Raises ConfigurationError if *config*, or a file that is there, cannot be read.
    """
    if config is None and environment.get(CONFIG_VARIABLE):
        config = Path(environment[CONFIG_VARIABLE])
    working = _working_directory()
    directory = (working / config).parent if config else working
    settings = SiteSettings(directory)
    _add_files(settings, working / config if config else None)
    _add_variables(settings, environment)
    settings.add(dict(given), "the command line")
    return settings


def known_names() -> frozenset[str]:
    """Return every name that can be set."""
    options = declarations()
    aliases = {alias.name for declared in options.values() for alias in declared.aliases}
    return frozenset({*options, *aliases, *OF_THE_SITE})


def _add_files(settings: SiteSettings, config: Path | None) -> None:
    """Add the files; *config* must be there, one in its usual place need not."""
    pyproject = settings.directory / PYPROJECT
    is_pyproject = config is not None and config.name == PYPROJECT
    document = _document(pyproject, required=is_pyproject)
    _add_collective(settings, document, f"[tool.{collective.TABLE}] of {pyproject}")
    if not is_pyproject:
        path = config or settings.directory / CONFIG
        _add_table(settings, _document(path, required=config is not None), str(path))
    own = toml.table(document, "tool", TABLE)
    _add_table(settings, own or {}, f"[tool.{TABLE}] of {pyproject}")


def _document(path: Path, *, required: bool) -> Mapping[str, Any]:
    if not required and not os.path.isfile(path):
        # a directory that we may not look into holds no configuration for us
        return {}
    document = toml.load(path)
    if document is None:
        raise ConfigurationError("there is no such configuration", where=path)
    return document


def _add_table(settings: SiteSettings, table: Mapping[str, Any], origin: str) -> None:
    settings.add(dict(toml.texts(table, settings.problems, origin)), origin)


def _add_collective(settings: SiteSettings, document: Mapping[str, Any], origin: str) -> None:
    table = toml.table(document, "tool", collective.TABLE) or {}
    texts = {name.lower(): text for name, text in toml.texts(table, settings.problems, origin)}
    settings.add(collective.understood(texts, origin, settings.problems, settings.notes), origin)


def _add_variables(settings: SiteSettings, environment: Mapping[str, str]) -> None:
    path = settings.directory / collective.ENV_FILE
    in_file = collective.env_file(path) if os.path.isfile(path) else {}
    for variables, origin in ((in_file, str(path)), (environment, "the environment")):
        texts = dict(_named(variables, collective.PREFIX))
        settings.add(
            collective.understood(
                texts, f"{collective.PREFIX}* of {origin}", settings.problems, settings.notes
            ),
            f"{collective.PREFIX}* of {origin}",
        )
    own = {name: text for name, text in environment.items() if not _is_for_others(name)}
    settings.add(dict(_named(own, PREFIX)), f"{PREFIX}* of the environment")


def _is_for_others(variable: str) -> bool:
    """Tell whether a variable sets no option: where the configuration is, or a passphrase."""
    return variable == CONFIG_VARIABLE or variable.startswith(PASSPHRASE_VARIABLE)


def _named(variables: Mapping[str, str], prefix: str) -> Iterator[tuple[str, str]]:
    for name, text in variables.items():
        if name.startswith(prefix):
            yield name.removeprefix(prefix).lower(), text


def _spellings(name: str) -> Iterable[str]:
    """Return all spellings of the option that *name* is one of."""
    for option, declared in declarations().items():
        spellings = [option, *(alias.name for alias in declared.aliases)]
        if name in spellings:
            return spellings
    return [name]


def _nearest(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name.lower(), sorted(known_names()), n=1)
    return f"; do you mean {near[0]}?" if near else ""


def _is_homeless(name: str, text: str) -> bool:
    """Tell whether a path begins with a home directory that is unknown."""
    declared = declarations().get(name)
    if name not in PATHS_OF_THE_SITE and (declared is None or declared.kind not in (PATH, PLACE)):
        return False
    text = text.strip()
    return text.startswith("~") and os.path.expanduser(text) == text


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except OSError:
        # it was removed, or we may not know where we are: all paths had better be absolute
        return Path("/")
