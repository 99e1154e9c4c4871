"""From a URL to a directory in a grid, and to the node of Tahoe-LAFS that reaches it.

::

    tahoe:ALIAS[/PATH][?node=URL][&directory=PATH][&writer=NAME]
    tahoe:CAPABILITY[/PATH][?...]

An alias is one of the node (``tahoe add-alias``): a line of ``private/aliases`` in its
directory, which also says in ``node.url`` where its web API is.  The directory of the node is
the one of the URL, of the variable ``TAHOE_NODE_DIRECTORY``, or ``~/.tahoe``; the web API is
at the address of the URL, of the variable ``TAHOE_NODE_URL``, of ``node.url``, or DEFAULT.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from collective.recipe.backup.errors import ConfigurationError, from_os_error
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.smallfile import UnfitError, read_small
from collective.recipe.backup.storeurls import has_capability, shown_url

DEFAULT = "http://127.0.0.1:3456"
"""Address of the web API of a node, unless the configuration gives another one."""

_SAID = ("node", "directory", "writer")
_OF_A_DIRECTORY = re.compile(r"URI:DIR2(?:-MDMF)?(?:-RO)?:[a-z2-7]{26}:[a-z2-7]{52}", re.ASCII)
_ALIAS = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
_STEP = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}", re.ASCII)
_WRITER = re.compile(r"[a-z0-9][a-z0-9-]{0,31}", re.ASCII)
_NODE = re.compile(
    r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?/?|https?://\[[0-9a-f:]+\](?::[0-9]{1,5})?/?"
)


@dataclass(frozen=True, kw_only=True)
class TahoePlace:
    """A directory in a grid, and the node that reaches it."""

    location: str  # its URL, without a capability
    root: str  # a capability of a directory, or an alias of the node
    steps: tuple[str, ...]  # names of directories, from there on
    directory: Path  # of the node
    said: str  # the address of the web API, if the URL or the environment says it; "": neither
    writer: str  # whose directory is written to; "": the one of the node

    @property
    def node(self) -> str:
        """The address of the web API of the node.  Raises ConfigurationError."""
        found = self.said or self._of_the_node("node.url").strip() or DEFAULT
        if not _NODE.fullmatch(found):
            raise _wrong("a node is at http:// or https://, a host and perhaps a port", found)
        return found.rstrip("/")

    @property
    def capability(self) -> str:
        """The capability of the directory that *steps* start from: a secret.

        Raises ConfigurationError if there is no such alias.
        """
        if has_capability(self.root):
            return self.root
        for line in self._of_the_node("private/aliases").splitlines():
            name, _colon, found = line.partition(":")
            if name.strip() == self.root and _OF_A_DIRECTORY.fullmatch(found.strip()):
                return found.strip()
        raise ConfigurationError(
            f"the node of Tahoe-LAFS has no alias {self.root!r} of a directory",
            where=self.directory / "private" / "aliases",
            hint="tahoe create-alias makes one with a new directory, tahoe add-alias names one "
            "that is there; is this the directory of the node?",
        )

    def _of_the_node(self, name: str) -> str:
        """Return the text of a file in the directory of the node, "" if it is not there."""
        path = self.directory / name
        try:
            return (read_small(path) or b"").decode("utf-8", "replace")
        except UnfitError as error:
            raise ConfigurationError("it cannot be read", where=path) from error
        except OSError as error:
            raise from_os_error(error, "cannot read what the node says", path) from error


def tahoe_at(url: str) -> TahoePlace:
    """Return what *url* means; nothing is looked at yet.

    Raises ConfigurationError, which shows no capability.
    """
    parts = urlsplit(url)
    root, *steps = unquote(parts.path).rstrip("/").split("/")
    said = dict(parse_qsl(parts.query, keep_blank_values=True))
    strange = sorted(said.keys() - set(_SAID))
    if strange or parts.fragment:
        raise _wrong(f"unknown in such a URL: {', '.join(strange) or '#'}", url)
    if not _OF_A_DIRECTORY.fullmatch(root) and not _ALIAS.fullmatch(root):
        raise _wrong("there is neither an alias nor a capability of a directory", url)
    if not all(map(_STEP.fullmatch, steps)):
        raise _wrong("a path has letters, digits, dots, hyphens, underlines and slashes", url)
    if not _WRITER.fullmatch(said.get("writer", "x")):
        raise _wrong("a writer has up to 32 small letters, digits and hyphens", url)
    directory = said.get("directory") or os.environ.get("TAHOE_NODE_DIRECTORY") or "~/.tahoe"
    return TahoePlace(
        location=shown_url(url),
        root=root,
        steps=tuple(steps),
        directory=Path(directory).expanduser(),
        said=said.get("node") or os.environ.get("TAHOE_NODE_URL", ""),
        writer=said.get("writer", ""),
    )


def _wrong(what: str, url: str) -> ConfigurationError:
    return ConfigurationError(
        what,
        where=shown_url(url),
        hint="write tahoe:ALIAS or tahoe:CAPABILITY, then perhaps /PATH, and perhaps "
        "?node=http://HOST:PORT&directory=PATH&writer=NAME",
    )
