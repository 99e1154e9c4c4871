"""Options from TOML: a table of a file becomes texts, as all other settings are."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from collective.recipe.backup.errors import ConfigurationError, explained
from collective.recipe.backup.jsonfile import is_deep
from collective.recipe.backup.options import declarations
from collective.recipe.backup.options.optionkinds import ARGUMENTS, LINES, TEXT
from collective.recipe.backup.smallfile import read_small


def load(path: Path) -> dict[str, Any] | None:
    """Return what the file at *path* holds, None if there is no such file."""
    if sys.version_info >= (3, 11):
        import tomllib  # many start without a file
    else:
        import tomli as tomllib

    with explained("cannot read the configuration", path):
        data = read_small(path)
    if data is None:
        return None
    try:
        document: dict[str, Any] = tomllib.loads(data.decode("utf-8"))
    except ValueError as error:
        raise ConfigurationError(f"this is not TOML: {error}", where=path) from error
    except RecursionError as error:
        raise _too_deep(path) from error
    if is_deep(document):
        raise _too_deep(path)
    return document


def _too_deep(path: Path) -> ConfigurationError:
    return ConfigurationError("tables and lists lie too deep in each other", where=path)


def table(document: Mapping[str, Any], *names: str) -> Mapping[str, Any] | None:
    """Return the table of that name in a document, None if it has none.

    Raises ConfigurationError if something else has the name.
    """
    found = document
    for name in names:
        inner = found.get(name)
        if inner is None:
            return None
        if not isinstance(inner, Mapping):
            raise ConfigurationError(f"{'.'.join(names)} must be a table, [{'.'.join(names)}]")
        found = inner
    return found


def texts(
    settings: Mapping[str, Any], problems: list[str], origin: str
) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each setting of a table; names may have dashes.

    A value that is no text, number, boolean or list is added to *problems*, which name *origin*.
    """
    for name, value in settings.items():
        option = name.replace("-", "_")
        try:
            yield option, _text(option, value)
        except ValueError as error:
            problems.append(f"{origin}: {name} {error}")


def _text(option: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    if not isinstance(value, list):
        raise ValueError(f"must be a text, a number, true, false or a list, not {value!r}")
    declared = declarations().get(option)
    kind = declared.kind if declared else None
    if kind not in (LINES, ARGUMENTS, TEXT):
        raise ValueError("is one value, not a list")
    if not all(isinstance(item, str) for item in value):
        raise ValueError(f"must be a list of texts, not {value!r}")
    if kind is ARGUMENTS:
        return shlex.join(value)
    if any("\n" in item for item in value):
        raise ValueError("must be a list of texts without line breaks")
    return "\n".join(value)
