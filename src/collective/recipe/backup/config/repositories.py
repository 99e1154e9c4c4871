"""The option that lists repositories: ``[NAME] URL`` on each line."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

from collective.recipe.backup.config.storages import Absolute, words
from collective.recipe.backup.options.optionkinds import expanded
from collective.recipe.backup.storeurls import has_capability, shown_url

NAME = "repository"
"""Name of a repository if its line gives none."""

_TAKEN = {"directory", "all"}
_NAMES = re.compile(r"[a-z][a-z0-9_-]*")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")

_STORES = ("file:///", "s3://", "gs://", "az://", "sftp://", "tahoe:")


class NamedRepository(NamedTuple):
    """One of the repositories of a site."""

    name: str  # in messages and with ``--destination``
    url: str  # an absolute path, or a URL; it may be a secret


def repositories(
    lines: Sequence[str], absolute: Absolute, problems: list[str]
) -> list[NamedRepository]:
    """Return the repositories in *lines*, in their order; add mistakes to *problems*.

    *absolute* makes a path of a line absolute.
    """
    found: dict[str, NamedRepository] = {}
    for line in lines:
        try:
            each = _repository(line, absolute)
        except ValueError as error:
            problems.append(f"repository: {error}: {shown_url(line)!r}")
            continue
        if each.name in found:
            problems.append(f"repository: there are two called {each.name}: give each a name")
        elif each.url in {other.url for other in found.values()}:
            problems.append(f"repository: {shown_url(each.url)} is there twice")
        found[each.name] = each
    return list(found.values())


def _repository(line: str, absolute: Absolute) -> NamedRepository:
    *names, url = words(line)
    if len(names) > 1:
        raise ValueError("a line is [NAME] URL; a path with white space is written in quotes")
    name = names[0] if names else NAME
    if not _NAMES.fullmatch(name) or name in _TAKEN:
        raise ValueError(f"{name!r} is no name for a repository: take a word in lower case")
    if not _SCHEME.match(url):
        return NamedRepository(name, str(absolute(expanded(url))))
    if not url.lower().startswith(_STORES):
        raise ValueError(f"a repository is at a path, or at a URL of {', '.join(_STORES)}")
    return NamedRepository(name, url)


def line_of(repository: NamedRepository) -> str:
    """Return the line that lists *repository*."""
    return f"{repository.name} {shlex.quote(repository.url)}"


def listed(lines: Sequence[str]) -> list[NamedRepository]:
    """Return what lines list that ``line_of`` has made."""
    return repositories(lines, Path, [])


def secrets(lines: Sequence[str]) -> list[str]:
    """Return problems of *lines* in a readable file: they have a capability."""
    return [
        f"repository: {shown_url(line)!r} lets all who read it in, and buildout writes it into "
        "files: name the capability by tahoe add-alias, and write tahoe:ALIAS"
        for line in lines
        if has_capability(line)
    ]


def local_path(url: str) -> Path | None:
    """Return the directory here that a *url* of ``listed`` means, None if it is elsewhere."""
    if url.startswith("/"):
        return Path(url)
    parts = urlsplit(url)
    return Path(os.fsdecode(unquote_to_bytes(parts.path))) if parts.scheme == "file" else None
