"""A site that strangers have filled with what may hurt, seen by each verb that looks into it."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest
from persistent.mapping import PersistentMapping
from ZODB.blob import Blob
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.utils import p64, z64

from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.objects.current import Objects
from collective.recipe.backup.objects.inert import all_references
from collective.recipe.backup.objects.paths import children, place_of
from collective.recipe.backup.objects.subtree import Subtrees
from collective.recipe.backup.tests.repositoryruns import OperatedInRepository
from collective.recipe.backup.tests.runs import Operated, typed
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.unit.test_deleted import minutes
from collective.recipe.backup.tests.unit.test_objects import Folder, filled

NAMES = [
    "\x1b]0;evil\x07\x1b[2J",
    "two\nlines\r",
    "\u202egnp.exe",
    "<script>alert(1)</script>\"'&",
    "../../../etc/passwd",
    "/etc/shadow",
    "nul\0byte",
    "x" * 5000,
    "\ud800half",
    "",
    "..",
    "-rf",
]
MAPPING = b"cpersistent.mapping\nPersistentMapping\n"
TREE = b"cBTrees.OOBTree\nOOBTree\n"
BUCKET = b"cBTrees.OOBTree\nOOBucket\n"
FIRST = 1 << 32
"""The first oid of records that are made by hand."""


def record(state: bytes, kind: bytes = b"cevil\nClass\n") -> bytes:
    return b"\x80\x03" + kind + b".\x80\x03" + state + b"."


def to(number: int, kind: bytes) -> bytes:
    """Return a reference to one of the records that are made by hand."""
    return b"C\x08" + p64(FIRST + number) + kind + b"\x86Q"


def pickles(told: Path) -> dict[str, bytes]:
    """Return records that would run code, fill the memory or never end."""
    command = f"touch {told}".encode()
    shared = b"".join(b"]q%c(%be" % (n + 1, (b"h%c" % n) * 10) for n in range(12))
    return {
        "system": record(b"cposix\nsystem\n(U%c%btR" % (len(command), command)),
        "deep list": record(b"]" * 2000 + b"a" * 1999),
        "deep tuple": record(b")" + b"\x85" * 2000),
        "huge number": record(b"\x8b" + struct.pack("<i", 200_000) + b"\x7f" * 200_000),
        "memo": record(b"}r\xff\xff\xff\x7f"),
        "shared": record(b"]q\x00" + shared),
        "cyclic": record(b"}q\x00U\x04dataq\x01h\x00s"),
        "garbage": b"garbage",
        "class": record(b"}", "c\x1b[2J<b>\u202e\nEv\x07il\n".encode()),
        "ids": record(b"}U\x08_objects(}U\x02id}ss}U\x02idNsts"),
    }


def circles() -> tuple[dict[str, bytes], dict[bytes, bytes]]:
    """Return references by name, and the records that they lead to."""
    made = [
        record(b"((" + to(0, TREE) + b"t" + to(0, BUCKET) + b"t", TREE),
        record(b"((" + to(2, BUCKET) + b"t" + to(2, BUCKET) + b"t", TREE),
        record(b"((U\x01aK\x01t" + to(3, BUCKET) + b"t", BUCKET),
        record(b"((U\x01zK\x02t" + to(2, BUCKET) + b"t", BUCKET),
        record(b"}U\x04data}U\x01x" + to(5, MAPPING) + b"ss", MAPPING),
        record(b"}U\x04data}U\x01y" + to(4, MAPPING) + b"ss", MAPPING),
        record(b"K\x05", TREE),
    ]
    records = {p64(FIRST + number): data for number, data in enumerate(made)}
    leading = {"tree": to(0, TREE), "buckets": to(1, TREE), "folders": to(4, MAPPING)}
    return {**leading, "odd": to(6, TREE)}, records


def attacked(site: Site, told: Path) -> list[str]:
    """Fill *site*; return the paths of what was put there."""
    filled(site)
    hand_made = pickles(told)
    with site._at(minutes(1)) as db, db.transaction(note="".join(NAMES[:4])) as connection:
        connection.transaction_manager.get().user = NAMES[0] + NAMES[1]
        application = connection.root()["Application"]
        application.evil = evil = PersistentMapping()
        evil["names"] = names = PersistentMapping()
        for name in NAMES:
            names[name] = folder = Folder()
            folder.id = folder.title = folder.filename = folder.contentType = name
            folder._blob = Blob(b"content")
        evil["pickles"] = PersistentMapping({key: PersistentMapping() for key in hand_made})
    with site._at(minutes(2)) as db, db.transaction() as connection:
        evil = connection.root()["Application"].evil
        records = {evil["pickles"][key]._p_oid: data for key, data in hand_made.items()}
        itself = evil._p_oid
    leading, others = circles()
    storage = FileStorage(str(site.filestorage), blob_dir=str(site.blobstorage))
    try:
        known = [each.oid for each in all_references(storage.load(itself)[0])]  # type: ignore[union-attr]
        entries = {
            **dict(
                zip(
                    ("names", "pickles"),
                    (b"C\x08" + it + MAPPING + b"\x86Q" for it in known),
                    strict=True,
                )
            ),
            **leading,
        }
        state = b"".join(
            b"U%c%b%b" % (len(name), name.encode(), it) for name, it in entries.items()
        )
        records |= {**others, itself: record(b"}U\x04data}(" + state + b"us", MAPPING)}
        meta = TransactionMetaData("attacker", "raw")
        storage.tpc_begin(meta)
        for oid, data in records.items():
            serial = z64 if oid in others else storage.getTid(oid)
            storage.store(oid, serial, data, "", meta)
        storage.tpc_vote(meta)
        storage.tpc_finish(meta)
    finally:
        storage.close()
    return ["/evil", *(f"/evil/{name}" for name in entries)] + [
        f"/evil/pickles/{name}" for name in hand_made
    ]


def damaged_names(site: Site) -> None:
    """Delete and rename some of what was put into *site*, by one whose name is odd as well."""
    with site._at(None) as db, db.transaction(note="".join(NAMES[:4])) as connection:
        connection.transaction_manager.get().user = NAMES[0] + NAMES[3]
        names = connection.root()["Application"].evil["names"]
        for name in NAMES[::2]:
            del names[name]
        names["<moved>"] = names.pop(NAMES[1])


@pytest.mark.parametrize("made", [Operated, OperatedInRepository])
def test_what_strangers_put_into_a_site_hurts_nobody_who_looks_into_its_backups(
    site: Site, tmp_path: Path, capfd: pytest.CaptureFixture[str], made: type[Operated]
) -> None:
    """Nothing runs, nothing reaches the terminal as it is, and each verb ends as it may."""
    paths = attacked(site, tmp_path / "told")
    for name in ("new\nline", "\x1b[2J", "-rf", "\u202etxt", "\udcff", "x" * 250):
        (site.blobstorage / name).write_bytes(b"of a stranger")
    operated = made(site)
    operated.now = minutes(60)
    operated.backup()
    stamp = operated.points()[-1].stamp
    damaged_names(site)
    earlier = f"{minutes(1):%Y-%m-%dT%H:%M:%SZ}"
    runs = [("log", []), ("log", ["--stat"]), ("log", ["--path", "/evil"])]
    runs += [("diff", [earlier, stamp]), ("diff", [earlier, stamp, "/evil/pickles/class"])]
    runs += [("objects", ["--path", path]) for path in paths]
    runs += [("objects", ["--deleted", stamp]), ("objects", ["--deleted", "--attributes", stamp])]
    runs += [("objects", ["--deleted", stamp, "--path", "/evil"]), ("diff", [stamp])]
    runs += [("list", ["--content"])]
    for number, path in enumerate(paths[:3]):
        runs += [
            ("extract", ["--path", path, "--file", str(tmp_path / f"{number}.zexp")]),
            ("extract", ["--path", path, "--to", str(tmp_path / f"{number}")]),
            ("undelete", ["--path", path, "--file", str(tmp_path / f"back{number}.zexp")]),
        ]
    capfd.readouterr()
    for verb, arguments in runs:
        is_one_of_few = verb in ("log", "diff") or "--deleted" in arguments
        is_one_of_few |= arguments[-1:] in [[path] for path in paths[:3]]
        for more in ([], ["--json"]) if is_one_of_few else ([],):
            code = typed(operated, verb, *arguments, *more)
            text, messages = capfd.readouterr()
            assert code in (0, 2, 3), (verb, arguments, messages)
            assert all(each.isprintable() or each == "\n" for each in text + messages)
            assert "Traceback" not in messages
            if more and not code:
                json.loads(text)
    assert not (tmp_path / "told").exists()
    written = [path for path in tmp_path.rglob("*") if path.name.startswith("passwd")]
    assert all(path.parent.parent == tmp_path for path in written)
    assert len(written) >= 1
    assert os.path.commonpath([str(tmp_path), *map(str, written)]) == str(tmp_path)


def test_objects_are_counted_as_they_are_walked(site: Site, tmp_path: Path) -> None:
    """Quickly, and with the same owners, whatever strangers have put into the site."""
    attacked(site, tmp_path / "told")
    with TransactionLog(site.filestorage) as log:
        objects = Objects(log)
        for path in ("/", "/Plone", "/Plone/news", "/evil", "/evil/pickles", "/evil/buckets"):
            place = place_of(objects, path)
            starts = list(dict.fromkeys(each.oid for each in children(objects, place.held)))
            above = (*place.above, place.held.oid)
            walked, counted = Subtrees(objects, above), Subtrees(objects, above)
            expected = {it.held.oid: it.owner for it in walked.walk(starts)}
            found = {it.held.oid: it.owner for it in counted.counted(starts)}
            assert found | expected == found
            # the next bucket of a BTree is a part of it, unless a stranger has made it
            assert all(oid >= p64(FIRST) for oid in found.keys() - expected.keys())
