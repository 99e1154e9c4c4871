"""The settings of the tool ``collective-backup``, read as they stand.

Its options have the names that ours have.  It reads ``[tool.collective-backup]`` of a
pyproject.toml, then ``COLLECTIVE_BACKUP_*`` variables from a ``.env`` beside it, then those
of the environment, and so do we.  One thing is not taken over: to it, every word that it
does not know is false.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from collective.recipe.backup.errors import ConfigurationError, explained
from collective.recipe.backup.options import declarations
from collective.recipe.backup.options.optionkinds import SWITCH
from collective.recipe.backup.smallfile import read_small

TABLE = "collective-backup"
PREFIX = "COLLECTIVE_BACKUP_"
ENV_FILE = ".env"

MEANINGLESS = {
    "bin_dir": "no scripts are generated",
    "cron": "start sitebackup from cron or a timer",
    "snapshot_cron": "start sitebackup from cron or a timer",
}
"""Its options that mean nothing to us, and what to do."""

_LINE = re.compile(r"(?:export\s+)?(?P<name>\w+)\s*=\s*(?P<value>.*)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t"}


def understood(
    settings: Mapping[str, str], origin: str, problems: list[str], notes: list[str]
) -> dict[str, str]:
    """Return *settings* as ours; add to *problems* and *notes* what cannot be, or is not."""
    found = {}
    for name, text in settings.items():
        if name in MEANINGLESS:
            notes.append(f"{origin}: {name} means nothing here: {MEANINGLESS[name]}")
            continue
        problem = _lenient(name, text)
        if problem:
            problems.append(f"{origin}: {name} {problem}")
        elif name == "repozo" and text.strip() and "/" not in text:
            import shutil

            # there a bare name is looked up, here it would be a file of the site
            found[name] = shutil.which(text.strip()) or text
        else:
            found[name] = text
    return found


def _lenient(name: str, text: str) -> str:
    """Return why *text* is no switch, "" if it is one or *name* is none."""
    declared = declarations().get(name)
    if declared is None or declared.kind is not SWITCH:
        return ""
    try:
        SWITCH.parse(text)
    except ValueError as error:
        return f"{error} (collective-backup takes any other word for false, which hides mistakes)"
    return ""


def env_file(path: Path) -> dict[str, str]:
    """Return its variables from a ``.env`` file; {} if there is no such file."""
    with explained("cannot read the variables", path):
        data = read_small(path) or b""
    return dict(_variables(data.decode("utf-8", "surrogateescape"), path))


def _variables(text: str, path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if PREFIX not in line or line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None:
            raise ConfigurationError("a line is NAME=VALUE", where=f"{path}, line {number}")
        if found["name"].startswith(PREFIX):
            yield found["name"], _unquoted(found["value"].strip())


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == "'":
        return value[1:-1]
    if len(value) >= 2 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", lambda it: _ESCAPES.get(it[1], it[1]), value[1:-1])
    return value
