"""The Zope parts of a buildout: the paths of the site's data, or signs that it is elsewhere.

A part of ``plone.recipe.zope2instance`` may have its data elsewhere (``rel-storage``,
``zeo-client`` with the address of another host, ``demo-storage``), and its ``blob-storage``
may be no more than a cache of what a ZEO server has (``zeo-client`` without ``shared-blob``).
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.options.optionkinds import expanded

SERVERS = {"plone.recipe.zeoserver", "plone.recipe.zope2zeoserver"}
RECIPES = {*SERVERS, "plone.recipe.zope2instance"}

_ON = {"yes", "true", "on", "1"}
_NO_DEMO = {"", "off", "disable", "false"}
_THIS_MACHINE = {"", "localhost"}
_DEFAULT_ADDRESS = "8100"


@dataclass(frozen=True)
class ZopePart:
    """One Zope part of a buildout."""

    name: str  # of the part
    options: Mapping[str, str]  # as texts

    def text(self, option: str) -> str:
        """Return an option without the white space around it, "" if it is not set."""
        return self.options.get(option, "").strip()

    @property
    def is_server(self) -> bool:
        """Tell whether it is a ZEO server."""
        return self.text("recipe").lower() in SERVERS

    @property
    def is_client(self) -> bool:
        """Tell whether it has its data from a ZEO server."""
        return self.text("zeo-client").lower() in _ON

    @property
    def has_blob_cache(self) -> bool:
        """Tell whether its blob-storage is only a cache."""
        return self.is_client and self.text("shared-blob").lower() not in _ON

    @property
    def cache(self) -> Path | None:
        """The directory of its cache of a ZEO server; None: it caches only in memory.

        Without zeo-var the environment (ZEO_TMP), usually var, decides at its start.
        """
        client = self.text("zeo-client-client")
        if not (self.is_client and client):
            return None
        var = self.text("zeo-var") or self.text("var") or "var"
        return expanded(var) / f"{client}-{self.text('zeo-storage') or '1'}.zec"

    @property
    def elsewhere(self) -> str:
        """Say why its data is in no filestorage on this machine, "" if it may be in one."""
        if self.text("rel-storage"):
            return "keeps its data in an SQL database (rel-storage)"
        addresses = self.text("zeo-address").split() or [_DEFAULT_ADDRESS]
        if self.is_client and not any(map(_may_be_here, addresses)):
            return f"has its data from the ZEO server {' or '.join(addresses)}"
        if self.text("demo-storage").lower() not in _NO_DEMO:
            return "is a demo, whose changes are meant to be lost (demo-storage)"
        return ""


@dataclass(frozen=True, kw_only=True)
class Found:
    """The facts in the Zope parts."""

    is_zope: bool  # whether there is a Zope part
    var: Path | None  # None: no part has it
    datafs: Path | None  # filestorage; None: no part has it
    blob_storage: Path | None  # None: no part has it
    doubts: tuple[str, ...]  # see Config
    caches: tuple[Path, ...]  # see Config


def found(parts: Sequence[ZopePart]) -> Found:
    """Return what *parts*, in the order of the buildout, say of the site.

    Each fact comes from the first part that has it.
    """

    def first(option: str, among: Sequence[ZopePart] = parts) -> Path | None:
        values = (part.text(option) for part in among)
        return next((expanded(value) for value in values if value), None)

    return Found(
        is_zope=bool(parts),
        var=first("zeo-var") or first("var"),
        datafs=first("file-storage"),
        blob_storage=first("blob-storage", [it for it in parts if not it.has_blob_cache]),
        doubts=tuple(_doubts(parts)),
        caches=tuple(part.cache for part in parts if part.cache),
    )


def _doubts(parts: Sequence[ZopePart]) -> Iterator[str]:
    """Yield a sentence for each part, if none of them can have its data in a filestorage here."""
    if any(part.is_server or not part.elsewhere for part in parts):
        return
    for part in parts:
        yield (
            f"part {part.name} {part.elsewhere}, so a Data.fs that lies here may not be that of "
            "the site: back up where the data is, set only_blobs = true if that is what is meant, "
            "or set datafs to back up that file all the same"
        )


def _may_be_here(address: str) -> bool:
    """Tell whether a ZEO server at *address* may run on this machine: names are not looked up."""
    host, colon, _port = address.lower().rpartition(":")
    own = os.uname().nodename.lower()
    if "/" in address or not colon or host in {*_THIS_MACHINE, own, own.partition(".")[0]}:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
