"""Blobstorages without a ZODB: trees of small files, made and compared."""

from __future__ import annotations

import codecs
import functools
import importlib
import os
import pkgutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from collective.recipe import backup
from collective.recipe.backup.blobs.layout import MARKER, Layout
from collective.recipe.backup.model import BlobId, Oid
from collective.recipe.backup.tests import servers
from collective.recipe.backup.times import Tid

ODD_NAMES = [
    "a b",
    "new\nline",
    "back\\slash\\n",
    "quo'te\"",
    "$(touch x)",
    "é",
    b"\xff\xfe".decode("utf-8", "surrogateescape"),
    "-rf",
    "*",
    " ",
]

Tree = Mapping[str, object]


def blob_id(oid: int, tid: int) -> BlobId:
    return BlobId(Oid(oid.to_bytes(8, "big")), Tid(tid.to_bytes(8, "big")))


def tid(number: int) -> Tid:
    return Tid(number.to_bytes(8, "big"))


def put(
    root: Path, blob: BlobId, data: bytes | None = None, *, layout: Layout = Layout.BUSHY
) -> Path:
    """Put a blob into the blobstorage at *root*, which is made if it is not there."""
    path = root / layout.path(blob)
    path.parent.mkdir(parents=True, exist_ok=True)
    marker = root / MARKER
    if not marker.exists():
        marker.write_text(layout.value)
    path.write_bytes(str(blob).encode("ascii") if data is None else data)
    seconds = 1_000_000_000 + int.from_bytes(blob.tid, "big") % 1_000_000
    os.utime(path, ns=(seconds * 10**9 + 123_456_789,) * 2)
    path.chmod(0o400)
    return path


def tree(root: Path) -> Tree:
    """Return what is below *root*: bytes of files, texts of links, None for directories."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_dir():
            found[name] = None
        elif path.is_file():
            found[name] = path.read_bytes()
        else:
            found[name] = stat.S_IFMT(path.lstat().st_mode)
    return found


def content(root: Path) -> Tree:
    """Return what is below *root* but for directories."""
    return {path: data for path, data in tree(root).items() if data is not None}


@functools.cache
def _load_all() -> None:
    codecs.lookup("ascii")
    importlib.import_module("pickletools")
    for module in pkgutil.walk_packages(backup.__path__, f"{backup.__name__}."):
        if ".tests" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)


@contextmanager
def nobody() -> Iterator[Path]:
    """Be a user without privileges inside the body; give a directory that is theirs.

    They may not read the library of Python, so what may be loaded late is loaded before.
    """
    _load_all()
    with tempfile.TemporaryDirectory() as name:
        root = os.geteuid() == 0
        if root:
            os.chown(name, 65534, 65534)
            os.setegid(65534)
            os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            if root:
                os.seteuid(0)
                os.setegid(0)


def children() -> list[int]:
    """Return the processes that this one has started and that are there, but for servers."""
    tasks = Path("/proc/self/task").iterdir()
    found = [int(each) for task in tasks for each in (task / "children").read_text().split()]
    return [each for each in found if not servers.is_server(each)]
