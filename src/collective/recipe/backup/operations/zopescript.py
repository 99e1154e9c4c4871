"""Brings an object back into a Zope site.  The last lines say which, and do it.

Run it with the Zope of the site: ``bin/instance run FILE``, with ``--dry-run`` behind it to be
told only what it would do.  It looks for conflicts first, and writes nothing if there is one.
All is done in one transaction.  To run it twice does no harm: the name is taken then.

Objects that come back get their old oids where these are free.  An oid is free if the site has no
record of it and no client of the site can be about to use it for a new object.
"""

from __future__ import annotations

import base64
import io
import os
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

try:
    from Acquisition import aq_base
except ImportError:  # no Zope, but ZODB alone: nothing is acquired

    def aq_base(found: Any) -> Any:
        """Return *found*, which no acquisition wraps."""
        return found


RESERVED = 1000
"""Oids below the next one that clients may have been given already: ZEO gives each 100 at once."""

BEGIN = b"ZEXP"
BLOB = b"\0BLOBSTART"

LONGEST = 48_000
"""Characters of a text in the extension of a transaction, which has room for 65,535 bytes."""

CHANGED = "modification_date"
"""The attribute with the date of the last change, which the catalogue knows as well."""

INDEXING = ("indexObject", "index_object", "reindexObject")
"""How objects tell the catalogue of themselves, the best first: the last changes their date."""


def conflicts(app: Any, export: str, above: list[str], name: str, uid: str) -> list[str]:
    """Return what is in the way; nothing, and the object can come back.

    *above* are the names that lead from *app* to the folder, *name* is that in the folder, and
    *uid* is how the catalogue of a Plone site knows the object ("": it does not).
    """
    found = [] if os.path.isfile(export) else [f"there is no export {export!r}"]
    folder, missing = followed(app, above)
    if missing:
        return [*found, f"the parent is gone: there is no {missing!r}; bring it back instead"]
    base = aq_base(folder)
    if not hasattr(base, "_setObject") and not hasattr(base, "__setitem__"):
        return [*found, f"the parent is no folder, but a {type(base).__name__}"]
    if part(folder, name) is not None:
        return [*found, f"the name is taken: there is a {name!r} in the folder"]
    return [*found, *elsewhere(app, folder, uid), *refused(folder, name)]


def elsewhere(app: Any, folder: Any, uid: str) -> list[str]:
    """Return where the object is now, if the catalogue of a Plone site knows it by its *uid*.

    An entry of the catalogue that leads to nothing does not count.
    """
    search = getattr(getattr(folder, "portal_catalog", None), "unrestrictedSearchResults", None)
    paths = [each.getPath() for each in search(UID=uid)] if search and uid else []
    there = [path for path in paths if not followed(app, path.strip("/").split("/"))[1]]
    return [f"it was not deleted: it is at {path!r}" for path in there]


def refused(folder: Any, name: str) -> list[str]:
    """Return why a folder of Zope does not take *name*."""
    if not hasattr(aq_base(folder), "_checkId"):
        return []
    from zExceptions import BadRequest

    try:
        folder._checkId(name)
    except BadRequest as error:
        return [f"the folder does not take the name {name!r}: {error}"]
    return []


def followed(app: Any, names: list[str]) -> tuple[Any, str]:
    """Return what *names* lead to, and the path of the first that is missing, or nothing.

    The last site on the way is made the current one: it has the catalogue.
    """
    found = app
    for number, name in enumerate(names, 1):
        found = part(found, name)
        if found is None:
            return None, "/" + "/".join(names[:number])
        enter(found)
    return found, ""


def part(folder: Any, name: str) -> Any:
    """Return what *folder* itself has under *name*, None if it has nothing; nothing is acquired."""
    base = aq_base(folder)
    if hasattr(base, "_getOb"):
        return folder._getOb(name, None)
    if hasattr(base, "__getitem__") and hasattr(base, "__contains__") and name in base:
        return folder[name]
    return None


def enter(found: Any) -> None:
    """Make *found* the current site, if it is one."""
    try:
        from zope.component.hooks import setSite
        from zope.component.interfaces import ISite
    except ImportError:
        return
    if ISite.providedBy(found):
        setSite(found)


def plan(app: Any, export: str, above: list[str], name: str) -> str:
    """Return what is to be written, in words."""
    folder, _missing = followed(app, above)
    oids = oids_for(folder._p_jar, export)
    kept = sum(old == new for old, new in oids.items())
    return (
        f"to write: {name!r} into the folder {above!r}, from {export!r}; "
        f"objects with their old oids: {kept}, with new ones: {len(oids) - kept}"
    )


def bring_back(app: Any, export: str, above: list[str], name: str, note: str) -> int:
    """Import the export, set it into its folder, tell the catalogue; return how many it was told.

    Its owner and the dates of its last changes stay.  Raises ImportError if a class is not here;
    nothing is written then, nor after any other error.
    """
    folder, _missing = followed(app, above)
    connection = folder._p_jar
    current = connection.transaction_manager
    try:
        found, oids = imported(connection, export)
        found._p_activate()
        is_orphan = getattr(found, "__dict__", {}).get("__parent__", folder) is None
        dates = [(it, getattr(it, CHANGED, None)) for it in map(aq_base, contained(found))]
        put(folder, name, found)
        if is_orphan:  # the export has none, for it leads out of the object
            found.__parent__ = aq_base(folder)
        put_back(dates)  # what listens has set that of all that is put into a folder
        told = index(part(folder, name))
        put_back(dates)
        current.get().note(note)
        text = renumbered_in_words(oids)
        if text:
            current.get().setExtendedInfo("backup-undelete", text)
        current.commit()
    except BaseException:
        current.abort()
        raise
    return told


def put_back(dates: list[tuple[Any, Any]]) -> None:
    """Let each object have the date of its last change that it had."""
    for each, date in dates:
        if date is not None and getattr(each, CHANGED) is not date:
            setattr(each, CHANGED, date)


def renumbered_in_words(oids: dict[bytes, bytes]) -> str:
    """Return which objects get other oids, as a text by which their history is found later.

    It is "" if all keep theirs.  What has no room is left out, what lies deepest first.
    """
    pairs = []
    last_old = last_new = 0
    for each in oids.items():
        old, new = (int.from_bytes(oid, "big") for oid in each)
        if old != new:
            steps = ((old - last_old) % (1 << 64), (new - last_new) % (1 << 64))
            pairs.append(struct.pack(">QQ", *steps))
            last_old, last_new = old, new
    while pairs:
        text = base64.b64encode(zlib.compress(b"".join(pairs), 9)).decode()
        if len(text) <= LONGEST:
            return f"backup-undelete:{text};"
        del pairs[len(pairs) * 9 // 10 :]
    return ""


def imported(connection: Any, export: str) -> tuple[Any, dict[bytes, bytes]]:
    """Return the object that is in the export, under its old oids where they are free.

    Also returns the oid that each of its objects has got.

    ``importFile`` of ZODB gives new oids to all objects.  This replaces, for one call, the
    function that ``importFile`` uses for records.  A ZODB that uses another one gives new oids.
    """
    oids = oids_for(connection, export)

    def import_during_commit(transaction: Any, file: BinaryIO, imported: list[bytes]) -> None:
        imported.append(next(iter(oids.values())))
        store_records(connection._storage, transaction, file, oids)

    connection._importDuringCommit = import_during_commit
    try:
        return connection.importFile(export), oids
    except (AttributeError, ImportError) as error:
        raise ImportError(f"this Zope lacks a class of what is in {export!r}: {error}") from error
    finally:
        del connection._importDuringCommit


def records(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield of each record in an export, behind its first bytes: oid, bytes of data and of a blob.

    *file* stands at the data then, and has to be behind neither them nor the blob when the next
    is asked for.  Of what is no blob the last is -1.
    """
    while len(head := file.read(16)) == 16 and head != b"\xff" * 16:
        size, begin = int.from_bytes(head[8:], "big"), file.tell()
        file.seek(size, os.SEEK_CUR)
        is_blob = file.read(len(BLOB)) == BLOB
        blob = int.from_bytes(file.read(8), "big") if is_blob else -1
        end = begin + size + (len(BLOB) + 8 + blob if is_blob else 0)
        file.seek(begin)
        yield head[:8], size, blob
        file.seek(end)


def oids_for(connection: Any, export: str) -> dict[bytes, bytes]:
    """Return for each object of the export the oid that it gets, the uppermost object first."""
    with open(export, "rb") as file:
        file.seek(len(BEGIN))
        old = [oid for oid, _size, _blob in records(file)]
    next_one = int.from_bytes(connection.new_oid(), "big")
    given = {}
    for oid in old:
        is_free = int.from_bytes(oid, "big") < next_one - RESERVED and is_unknown(connection, oid)
        given[oid] = oid if is_free else connection.new_oid()
    return given


def is_unknown(connection: Any, oid: bytes) -> bool:
    """Tell whether the site surely has no record of *oid*, not even one that an undo left."""
    try:
        connection.db().history(oid)
    except KeyError:
        return True
    except (AttributeError, NotImplementedError, TypeError):
        pass  # a storage that cannot tell
    return False


def store_records(storage: Any, transaction: Any, file: BinaryIO, oids: dict[bytes, bytes]) -> None:
    """Store all records of an export, behind its first bytes, under *oids*."""
    for oid, size, blob in records(file):
        data = renumbered(file.read(size), oids)
        if blob < 0:
            storage.store(oids[oid], None, data, "", transaction)
            continue
        file.seek(len(BLOB) + 8, os.SEEK_CUR)
        copy = copied(file, blob, storage.temporaryDirectory())
        storage.storeBlob(oids[oid], None, data, copy, "", transaction)


def copied(file: BinaryIO, size: int, directory: str) -> Any:
    """Return a new file in *directory* with the next *size* bytes of *file*."""
    from ZODB.utils import cp, mktemp

    name = mktemp(directory)
    with open(name, "wb") as copy:
        cp(file, copy, size)
    return name


class Referred:
    """Stands for a persistent object while the record of another is renumbered."""

    def __init__(self, target: Any) -> None:
        """Stand for *target*: an oid, or an oid and a class."""
        self.target = target


def renumbered(data: bytes, oids: dict[bytes, bytes]) -> bytes:
    """Return the *data* of a record, which refers to the objects by their *oids* here.

    It is loaded as ``importFile`` loads it: a class that is missing is an error.
    """
    from ZODB._compat import PersistentPickler, Unpickler, _protocol

    def load(target: Any) -> Referred:
        oid, *more = target if isinstance(target, tuple) else (target,)
        oid = oids[oid.encode("latin-1") if isinstance(oid, str) else oid]
        return Referred((oid, *more) if more else oid)

    unpickler, result = Unpickler(io.BytesIO(data)), io.BytesIO()
    unpickler.persistent_load = load
    pickler = PersistentPickler(
        lambda each: each.target if isinstance(each, Referred) else None, result, _protocol
    )
    for _pickle in range(2):
        pickler.dump(unpickler.load())
    return result.getvalue()


def put(folder: Any, name: str, found: Any) -> None:
    """Set *found* into *folder*; its owner stays the one that it has."""
    if hasattr(aq_base(folder), "_setObject"):
        folder._setObject(name, found, set_owner=0)
    else:
        folder[name] = found


def index(found: Any) -> int:
    """Tell the catalogue of *found* and of what it contains; return how many have one."""
    told = 0
    for each in contained(found):
        way = next((way for way in INDEXING if hasattr(aq_base(each), way)), None)
        if way:
            getattr(each, way)()
            told += 1
    return told


def contained(found: Any) -> Iterator[Any]:
    """Yield *found* and all that it contains, as folders of Zope tell it."""
    left = [found]
    while left:
        each = left.pop()
        yield each
        if hasattr(aq_base(each), "objectValues"):
            left.extend(each.objectValues())
