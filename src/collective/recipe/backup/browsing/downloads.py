"""Downloads: an object as an export that Zope imports, or a blob as a file.

Each is written to a private directory first, so that an error can be answered with a page.  The
file has no name any more when it is sent.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO, NamedTuple
from urllib.parse import quote

from werkzeug.wrappers import Response
from werkzeug.wsgi import FileWrapper

from collective.recipe.backup.browsing.askedpage import AskedPage
from collective.recipe.backup.errors import UsageError
from collective.recipe.backup.files import Files
from collective.recipe.backup.objects.paths import Location, is_oid, place_of
from collective.recipe.backup.operations.extract import extract, named_blobs, safe_name, write_blob
from collective.recipe.backup.operations.objects import OpenedObjects
from collective.recipe.backup.smallfile import open_regular

_NAME = "download"
_PIECE = 1 << 16


class Download(NamedTuple):
    """A file to be sent."""

    name: str  # for the browser
    content: BinaryIO  # closed by whoever sends it
    size: int  # bytes


def export(asked: AskedPage, opened: OpenedObjects, directory: Path, files: Files) -> Download:
    """Return the export of the object at the requested path."""
    place = place_of(opened.objects, asked.path)
    if not place.path.strip("/"):
        raise UsageError("the root is no part of a site", hint="name what is to be downloaded")
    target = directory / _NAME
    extract(opened, place, target, files)
    return _unnamed(target, f"{_name_of(place)}.zexp", files)


def blob(asked: AskedPage, opened: OpenedObjects, directory: Path, files: Files) -> Download:
    """Return one of the blobs that the object at the path holds."""
    place = place_of(opened.objects, asked.path)
    wanted = asked.text("blob")
    found = next((it for it in named_blobs(opened, place) if it.blob.oid.hex() == wanted), None)
    if found is None:
        raise UsageError("there is no such blob in it")
    target = directory / _NAME
    write_blob(opened, found.blob, target, files)
    return _unnamed(target, found.name or f"{wanted}.blob", files)


def _name_of(place: Location) -> str:
    return place.held.oid.hex() if is_oid(place.path) else place.path.rpartition("/")[2]


def _unnamed(target: Path, name: str, files: Files) -> Download:
    content = open_regular(target)
    size = target.stat().st_size
    files.discard(target)
    return Download(name, content, size)


def sent(found: Download) -> Response:
    """Return the answer that *found* is; a browser saves it, whatever it says that it is."""
    response = Response(
        FileWrapper(found.content, _PIECE),
        content_type="application/octet-stream",
        direct_passthrough=True,
    )
    response.content_length = found.size
    name = safe_name(found.name) or "download"
    # RFC 6266: the first for old browsers, the second for all others
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    encoded = quote(name, safe="", errors="replace")
    response.headers["Content-Disposition"] = (
        f"attachment; filename={plain}; filename*=UTF-8''{encoded}"
    )
    return response
