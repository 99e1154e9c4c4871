"""The objects of a moment: found by their paths, measured, and read without running anything."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from BTrees.IOBTree import IOBTree
from BTrees.OOBTree import OOBTree, OOTreeSet
from persistent import Persistent
from persistent.list import PersistentList
from persistent.mapping import PersistentMapping
from ZODB.blob import Blob

from collective.recipe.backup.cli import main
from collective.recipe.backup.destinations.repository.pagedblobs import PagedBlobs
from collective.recipe.backup.errors import IntegrityError, StoreUnreachable, UsageError
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.pickles import instructions
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.model import BlobId, Oid
from collective.recipe.backup.objects import expansion
from collective.recipe.backup.objects.current import Held, Objects, OidNumbers
from collective.recipe.backup.objects.inert import (
    Inert,
    ObjectState,
    OtherDatabase,
    Reference,
    UnreadableStateError,
    all_references,
    state_of,
)
from collective.recipe.backup.objects.paths import children, place_of
from collective.recipe.backup.objects.quickreferences import oids_in
from collective.recipe.backup.objects.references import references
from collective.recipe.backup.objects.subtree import Subtrees
from collective.recipe.backup.operations import blobsizes
from collective.recipe.backup.operations.blobsizes import BlobAmount
from collective.recipe.backup.operations.objects import OpenedObjects, items, opened_objects
from collective.recipe.backup.progress import ignore
from collective.recipe.backup.tests.repositoryruns import OperatedInRepository
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site

PAGES = 200
"""Enough for a BTree of several buckets."""


class Folder(Persistent):
    """As Plone's: what it contains is in ``_tree``."""

    def __init__(self, parent: Persistent | None = None) -> None:
        self._tree = OOBTree()
        self.title = "a folder"
        self.__parent__ = parent


class Page(Persistent):
    """With a blob, annotations, and a way back up."""

    def __init__(self, parent: Folder, text: bytes) -> None:
        self.__parent__ = parent
        self.annotations = PersistentMapping(notes=PersistentList(["a note"]))
        self.file = Blob(text)


class Manager(Persistent):
    """As those of OFS: contents are attributes, listed in ``_objects``."""


def filled(site: Site) -> None:
    """Put an application with two folders of pages into *site*."""
    with site._at(NOON - timedelta(hours=1)) as db, db.transaction(note="/made") as connection:
        connection.transaction_manager.get().user = "admin"
        app = connection.root()["Application"] = Manager()
        plone = app.Plone = Folder(app)
        app._objects = ({"id": "Plone", "meta_type": "Plone Site"},)
        app.tool = PersistentMapping()
        for name, count in (("news", 3), ("many", PAGES)):
            folder = plone._tree[name] = Folder(plone)
            for number in range(count):
                folder._tree[f"page-{number:03}"] = (
                    Page(folder, b"text") if name == "news" else PersistentMapping(n=number)
                )


@pytest.fixture
def objects(site: Site) -> Any:
    filled(site)
    with TransactionLog(site.filestorage) as log:
        yield Objects(log)


@pytest.mark.parametrize("made", [Operated, OperatedInRepository])
def test_what_a_folder_contains_is_listed_and_measured(
    site: Site, made: Callable[[Site], Operated]
) -> None:
    filled(site)
    operated = made(site)
    operated.backup()
    with site._at(NOON) as db, db.transaction() as connection:
        connection.transaction_manager.get().user = "jane"
        news = connection.root()["Application"].Plone._tree["news"]
        news._tree["page-001"].annotations["notes"].append("another")
        changed_oid = news._tree["page-001"].annotations["notes"]._p_oid
    operated.now = NOON
    operated.backup()
    with opened_objects(operated.run("objects"), None) as opened:
        place = place_of(opened.objects, "/Plone/news")
        whole, *pages = [each for each in items(opened, place) if each.is_entry]
        assert [each.name for each in pages] == ["page-000", "page-001", "page-002"]
        # a page, its mapping, the list in that, and the blob
        assert [(each.objects, each.blobs) for each in pages] == [(4, BlobAmount(1, 4))] * 3
        assert [each.user for each in pages] == [b"admin", b"jane", b"admin"]
        changed = opened.objects.load(Oid(changed_oid))
        assert changed is not None and pages[1].changed == changed.tid > pages[1].held.tid
        # the folder itself and its tree
        assert (whole.objects, whole.blobs) == (14, BlobAmount(3, 12))
        assert whole.own_blob == BlobAmount()
        assert whole.size > sum(each.size for each in pages) > 0
        assert whole.held.kind.endswith("test_objects.Folder")


def document_of(capsys: pytest.CaptureFixture[str], operated: Operated, *arguments: str) -> Any:
    """Return by their last name the objects that the command lists."""
    run = partial(main, "objects", "standard", operated.config_path)
    assert run([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["objects"]
    return {each["path"].rpartition("/")[2]: each for each in found}


@pytest.mark.parametrize("styles", [{}, {"archive_blob": True}])
def test_the_bytes_of_blobs_are_told_as_far_as_they_are_known(
    site: Site, capsys: pytest.CaptureFixture[str], styles: dict[str, bool]
) -> None:
    """A lost blob counts as one whose size is unknown, and in an archive all of them do."""
    filled(site)
    for each in [*site.blobstorage.rglob("*.blob")][:1]:
        each.unlink()
    operated = Operated(site, **styles)
    with pytest.raises(IntegrityError, match="1 blob was missing at the source"):
        operated.backup()
    names = "blobs", "blob_bytes", "blobs_of_unknown_size"
    news = document_of(capsys, operated, "/Plone/news")["news"]
    known = (3, 0, 3) if styles else (3, 8, 1)
    assert tuple(news["held"][name] for name in names) == known
    assert tuple(news[name] for name in names) == (0, 0, 0)
    assert main("objects", "standard", operated.config_path, ["/Plone/news"]) == 0
    said = capsys.readouterr().out
    assert ("unknown" if styles else "8 B at least") in said
    live = document_of(capsys, operated, "--live", "--path", "/Plone/news")["news"]
    assert tuple(live["held"][name] for name in names) == (3, 8, 1)
    pages = document_of(
        capsys, operated, "--live", "--path", "/Plone/news/page-001", "--attributes"
    )
    itself = pages["file"]
    assert itself["blobs"] == 1 and itself["held"]["blob_bytes"] == itself["blob_bytes"]


def test_a_store_that_stops_answering_costs_only_the_sizes_of_blobs(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked no more then; all else of the objects is known."""
    filled(site)
    operated = OperatedInRepository(site)
    operated.backup()
    asked = []

    def lost(_self: PagedBlobs, blobs: Iterable[BlobId]) -> Iterator[int | None]:
        asked.append(1)
        yield 4
        raise StoreUnreachable("the store does not answer")

    monkeypatch.setattr(PagedBlobs, "sizes", lost)
    monkeypatch.setattr(blobsizes, "_TOGETHER", 2)
    with opened_objects(operated.run("objects"), None) as opened:
        whole, *_others = items(opened, place_of(opened.objects, "/Plone/news"))
    assert whole.blobs == BlobAmount(3, 4, 2) and asked == [1]
    assert "not all sizes of blobs can be told: the store does not answer" in caplog.text


def test_a_path_goes_through_attributes_mappings_and_trees(objects: Objects) -> None:
    page = place_of(objects, "/Plone/many/page-199")
    assert page.held.state().value == {"data": {"n": 199}}
    assert place_of(objects, page.held.oid.hex()).held == page.held
    notes = place_of(objects, "/Plone/news/page-001/annotations/notes")
    assert notes.held.kind == "persistent.list.PersistentList"
    assert notes.path == "/Plone/news/page-001/annotations/notes"
    many = place_of(objects, "/Plone/many")
    entries = [it.name for it in children(objects, many.held) if it.is_entry]
    assert entries == [f"page-{number:03}" for number in range(PAGES)]
    app = place_of(objects, "/")
    assert [(it.name, it.is_entry) for it in children(objects, app.held)] == [
        ("Plone", True),
        ("tool", False),
    ]


@pytest.mark.parametrize("path", ["/Plone/nothing", "/Plone/news/__parent__", "00000000deadbeef"])
def test_a_path_that_leads_nowhere_is_refused(objects: Objects, path: str) -> None:
    with pytest.raises(UsageError):
        place_of(objects, path)


def test_what_leads_out_of_a_subtree_is_cut_and_named(objects: Objects) -> None:
    page = place_of(objects, "/Plone/news/page-000")
    trees = Subtrees(objects, page.above)
    found = {each.held.kind.rpartition(".")[2] for each in trees.walk([page.held.oid])}
    assert found == {"Page", "PersistentMapping", "PersistentList", "Blob"}
    assert [(cut.holder, cut.name) for cut in trees.cuts] == [(page.held.oid, "__parent__")]
    assert trees.missing == []


class Evil:
    """Whose pickle would run a command."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __reduce__(self) -> Any:
        return self.arguments


def record(*values: Any, kind: Any = None, protocol: int = 3) -> bytes:
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, protocol)
    for each in (kind or Persistent, *values):
        pickler.dump(each)  # both with one memo, as ZODB does it
    return stream.getvalue()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_runs_nothing(tmp_path: Path, protocol: int) -> None:
    told = tmp_path / "told"
    for evil in (
        Evil(os.system, (f"touch {told}",)),
        Evil(exec, (f"open({str(told)!r}, 'w').close()",)),
        Evil(Evil, (), {"state": Evil(os.mkdir, (str(told),))}),
        Evil(Path.touch, (told,)),
    ):
        data = record({"attribute": [evil]}, protocol=protocol)
        state = state_of(data)
        assert isinstance(state.value["attribute"][0], Inert)
        assert list(references(state)) == []
        # as a class, too
        state_of(record({}, kind=(evil, ()), protocol=protocol))
        assert not told.exists()
        unpickler = pickle.Unpickler(io.BytesIO(data))
        unpickler.load()
        unpickler.load()
        assert told.exists(), "it would have run"
        told.rmdir() if told.is_dir() else told.unlink()


def test_a_module_that_a_pickle_names_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\nclass Trap: pass")
    monkeypatch.syspath_prepend(str(tmp_path))
    state = state_of(b"ctrap\nTrap\n." + pickle.dumps({"a": 1}))
    assert state == ("trap.Trap", {"a": 1})
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "state",
    [
        b"\x80\x03}r\xff\xff\xff\x7f.",  # a memo of 16 GB
        b"}p2147483647\n.",
        b"\x80\x03B\xff\xff\xff\x7f.",  # bytes that are not there
        b"\x80\x03h\x05.",
        b"\x80\x03cos\nsystem\n(b.",
        b"\x80\x03K\x01Q.",
        b"\x80\x03U\x03abcQ.",
        b"\x82\x01.",  # an extension that nobody has registered
        b"",
    ],
)
def test_what_cannot_be_read_is_refused_and_takes_no_memory(state: bytes) -> None:
    with pytest.raises(UnreadableStateError):
        state_of(pickle.dumps(Persistent, 3) + state)


DOUBLED = b"".join(b"h%ch%c\x86q%c0" % (n, n, n + 1) for n in range(60))
"""Tuples of twice the one before, each in the memo only."""


@pytest.mark.parametrize(
    "state",
    [
        b"})" + b"\x85" * 10**6 + b"Ns.",
        b"})" + b"\x85Nb" * 10**5 + b"Ns.",  # "b" fills nothing and leaves the tuple
        b"})" + b"(e\x85" * 10**5 + b"Ns.",
        b"})" + b"2\x86" * 60 + b"Ns.",
        b"})q\x000" + DOUBLED + b"h\x3cNs.",
        b"})q\x000" + DOUBLED.replace(b"\x86", b"\x86(e") + b"h\x3cNs.",
        b"}0.",
        b"(0t.",
    ],
)
def test_keys_that_would_be_hashed_without_end_are_refused(state: bytes) -> None:
    with pytest.raises(UnreadableStateError):
        state_of(pickle.dumps(Persistent, 3) + state)


def test_what_is_passed_over_as_plain_never_unfolds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expansion, "MOST", 4)
    monkeypatch.setattr(expansion, "_PER_BYTE", 0)
    chance = random.Random(7)
    pieces = [b"N", b")", b"(", b"t", b"\x85", b"\x86", b"(e", b"(1", b"N0", b"K\x05", b"\x80\x03"]
    pieces += [b"\x86Q", b"\x86q\x01Q"]
    pieces += [b"q%c" % number for number in range(3)] + [b"h%c" % number for number in range(3)]
    plain = refused = 0
    for _round in range(4000):
        begun = b"Nq\x00Nq\x01Nq\x02NNNNNNNN"
        pickled = begun + b"".join(chance.choices(pieces, k=14)) + b"."
        machine = expansion._Machine(expansion.MOST)
        try:
            for code, begin, end in instructions(pickled[:-1]):
                machine.step(code, pickled[begin:end])
        except LookupError:
            continue  # it is none
        except ValueError:
            refused += 1
            assert not expansion._is_plain(pickled + b"N."), pickled
        else:
            plain += expansion._is_plain(pickled + b"N.")
    assert plain > 100 and refused > 10


def test_what_pickles_share_or_nest_as_sites_do_is_read() -> None:
    deep: Any = ()
    for _level in range(400):
        deep = (deep,)
    roles = tuple(f"role {number}" for number in range(1000))
    shared = {
        deep: roles,
        **{(number, roles): [roles, frozenset({roles})] for number in range(100)},
    }
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        found = state_of(record(shared, protocol=protocol)).value
        assert len(found) == 101
        assert found[deep] == roles


def test_a_database_by_a_name_that_is_no_text_is_no_reference() -> None:
    name = b"]X\x01\0\0\0na)\x85X\x01\0\0\0x\x86aQ."
    with pytest.raises(UnreadableStateError, match="another database"):
        state_of(pickle.dumps(Persistent, 3) + name)


def test_a_number_too_large_for_a_key_is_no_name() -> None:
    state = ObjectState("x.Y", {"data": {1 << 20_000: Reference(Oid(b"12345678"), "")}})
    assert [each.name for each in references(state)] == [""]


def test_an_object_that_cannot_be_read_is_listed_all_the_same(site: Site) -> None:
    with site._at(None) as db, db.transaction() as connection:
        connection.root()["values"]["bad"] = PersistentMapping()
        connection.add(connection.root()["values"]["bad"])
        oid = connection.root()["values"]["bad"]._p_oid
    data = site.filestorage.read_bytes()
    place = data.rindex(oid)
    size = struct.unpack(">Q", data[place + 34 : place + 42])[0]
    body = b"\x80\x03cpersistent.mapping\nPersistentMapping\n.".ljust(size, b"\xff")
    site.filestorage.write_bytes(data[: place + 42] + body + data[place + 42 + size :])
    with TransactionLog(site.filestorage) as log:
        objects = Objects(log)
        opened = OpenedObjects(objects, None, lambda _blobs: iter(()))
        found = items(opened, place_of(objects, "/values"))
        assert [each.name for each in found] == ["", "bad"]
        assert found[1].held.kind == "persistent.mapping.PersistentMapping"
        assert list(children(objects, found[1].held._replace(data=body))) == []


@pytest.mark.parametrize(
    ("pid", "expected"),
    [
        (b"12345678", Reference(Oid(b"12345678"), "")),
        ((b"12345678", None), Reference(Oid(b"12345678"), "unknown")),
        ([b"12345678"], Reference(Oid(b"12345678"), "", is_weak=True)),
        (["w", (b"12345678",)], Reference(Oid(b"12345678"), "", is_weak=True)),
        (["w", (b"12345678", "other")], OtherDatabase("other")),
        (["n", ("other", b"12345678")], OtherDatabase("other")),
        (["m", ("other", b"12345678", None)], OtherDatabase("other")),
    ],
)
def test_each_form_of_a_reference_is_known(pid: Any, expected: object) -> None:
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, 3)
    pickler.persistent_id = lambda it: pid if it is Ellipsis else None  # type: ignore[method-assign]
    pickler.dump(...)
    assert state_of(pickle.dumps(Persistent, 3) + stream.getvalue()).value == expected


@pytest.mark.parametrize("kind", [OOBTree, IOBTree, OOTreeSet])
def test_a_tree_that_holds_no_objects_refers_to_none_but_its_own(site: Site, kind: Any) -> None:
    with site._at(None) as db, db.transaction() as connection:
        tree = connection.root()["tree"] = kind()
        for number in range(PAGES):
            key = number if kind is IOBTree else str(number)
            tree.add(key) if kind is OOTreeSet else tree.__setitem__(key, "value")
        connection.root()["empty"] = kind()
    with TransactionLog(site.filestorage) as log:
        objects = Objects(log)
        tree_place = place_of(objects, "/tree")
        assert list(children(objects, tree_place.held)) == []
        kinds = [it.held.kind for it in Subtrees(objects).walk([tree_place.held.oid])]
        assert len(kinds) > 2
        assert all(each.startswith("BTrees.") for each in kinds)
        empty = place_of(objects, "/empty")
        assert len(list(Subtrees(objects).walk([empty.held.oid]))) == 1


def test_numbers_are_kept_for_any_oid_and_take_little_room() -> None:
    numbers = OidNumbers()
    for key in range(5000):
        numbers[Oid(key.to_bytes(8, "big"))] = key + 1
    numbers[Oid(b"\xff" * 8)] = 7
    assert numbers[Oid(b"\xff" * 8)] == 7
    assert numbers[Oid((4999).to_bytes(8, "big"))] == 5000
    assert Oid((5000).to_bytes(8, "big")) not in numbers
    assert len(numbers._pages) == 80


def test_the_history_of_an_object_goes_over_a_pack(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    operated = Operated(site)
    for number in range(3):
        at = NOON - timedelta(minutes=30 - number)
        site.commit({"page": number, "other": number}, by=f"user{number}", at=at)
    site.commit({"other": 4}, at=NOON - timedelta(minutes=10))
    operated.backup()
    site.pack(NOON)
    site.commit({"page": 5}, by="last", at=NOON + timedelta(hours=1, minutes=30))
    operated.backup()
    arguments = ["--path", "/values/page", "--history", "--json"]
    assert main("objects", "standard", operated.config_path, arguments) == 0
    found = json.loads(capsys.readouterr().out)["transactions"]
    assert [each["user"] for each in found] == ["user0", "user1", "user2", "last"]
    assert {each["objects"] for each in found} == {1}
    assert main("log", "standard", operated.config_path, ["--path", "/values/page"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_a_path_that_is_gone_tells_its_history_all_the_same(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(verb: str, *arguments: str, code: int = 0) -> str:
        assert main(verb, "standard", operated.config_path, arguments) == code
        return "".join(capsys.readouterr())

    operated = Operated(site)
    created = site.commit({"page": 1}, by="jane", at=NOON - timedelta(minutes=9))
    site.commit({"other": 1}, at=NOON - timedelta(minutes=5))
    operated.backup()
    oid = next(
        each["oid"]
        for each in json.loads(told("objects", "/values", "--json"))["objects"][1:]
        if each["path"] == "/values/page"
    )
    site.delete("page", at=NOON + timedelta(minutes=10))
    site.pack(NOON + timedelta(minutes=11))
    between = site.commit({"short": 1}, at=NOON + timedelta(minutes=12))
    site.delete("short", at=NOON + timedelta(minutes=13))
    operated.backup()
    newest, gone = operated.points()[-1].stamp, operated.points()[0].stamp
    for path in ("/values/page", oid):
        for verb, more in (("log", ()), ("objects", ("--history",))):
            words = told(verb, "--path", path, *more)
            assert "jane" in words
            assert f"{path}: this is what was there in {gone}" in words
    # an oid may stand where a path may
    assert "jane" in told("objects", oid, "--history")
    assert "user: description\n" in told("objects", oid, "--history")
    assert "leave one of them out" in told("objects", oid, "--history", "--attributes", code=2)
    assert "a path begins with a slash" in told("extract", "Plone", code=2)
    assert "there is no 'Plone' in /" in told("extract", gone, "Plone/news", code=2)
    assert "jane" in told("objects", gone, oid, "--history")
    assert "1 object, 0 blobs" in told("extract", gone, oid, "--file", str(site.directory / "it"))
    assert f"there is no object {oid}" in told("extract", oid, code=2)
    assert "this is" not in told("log", "--path", "/values/page", "--until", created.hex())
    # what lived between two restore points is found where a moment is named
    assert "--until takes a moment" in told("log", "--path", "/values/short", code=2)
    assert between.hex() in told("log", "--path", "/values/short", "--until", between.hex())
    words = told("log", "--path", "/values/page", "--until", "1990-01-01", code=4)
    assert "no restore point has the state at" in words
    # the other commands say which one finds it
    for verb, arguments in (("log", ["--live"]), ("objects", []), ("extract", [newest])):
        words = told(verb, *arguments, "--path", "/values/page", code=2)
        assert "log --path PATH, without --live, names a restore point that has it" in words


def test_the_moment_and_the_path_may_stand_together(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    operated = Operated(site)
    tid = site.commit({"\x1b[2Jpage": 1}, by="jane", at=NOON)
    site.commit({"later": 1}, at=NOON + timedelta(minutes=1))
    operated.backup()
    arguments = [tid.hex(), "/values", "--json"]
    assert main("objects", "standard", operated.config_path, arguments) == 0
    whole, page = json.loads(capsys.readouterr().out)["objects"]
    assert (whole["path"], page["path"]) == ("/values", "/values/\x1b[2Jpage")
    assert (page["held"]["user"], page["class"]) == (
        "jane",
        "persistent.mapping.PersistentMapping",
    )
    assert main("objects", "standard", operated.config_path, ["/values"]) == 0
    text = capsys.readouterr().out
    assert "/values/\\x1b[2Jpage: persistent.mapping" in text
    assert "/values/later" in text
    assert main("objects", "standard", operated.config_path, ["--live", "--path", "/nope"]) == 2
    assert "there is no 'nope' in /" in capsys.readouterr().err


def pickles(*parts: bytes) -> bytes:
    """Return the data of a record whose state has *parts* in a list."""
    return b"\x80\x03cof.a\nsite\nq\x00.\x80\x03](" + b"".join(parts) + b"e."


OID = b"C\x08" + bytes(6) + b"C\x08"


@pytest.mark.parametrize(
    ("parts", "count"),
    [
        ([OID, b"q\x01cBTrees.OOBTree\nOOBucket\nq\x02\x86q\x03Q"], 1),
        ([OID, b"ca\nb\nq\x02\x86Q", OID, b"q\x05h\x02\x86r\0\1\0\0Q"], 2),
        ([b"U" + OID[1:], b"ca\nb\n\x86Q"], 1),
        # no references: an oid alone, one within a text, a number that looks like one
        ([OID, b"K\x51J\x51\x51\x51\x51"], 0),
        ([b"T\x20\0\0\0", (OID + b"cQ\nQ\n\x86QC\x08").ljust(32)], 0),
        ([b"B\xff\0\0\0", (OID + b"ca\nb\n\x86QC\x08").ljust(255, b"Q")], 0),
        # other forms, which are left to who reads the whole
        ([OID, b"Q"], None),
        ([b"](X\x01\0\0\0w", OID, b"\x85eQ"], None),
        ([b"h\x00ca\nb\n\x86Q"], None),
        ([b"}X\x0a\0\0\0__parent__", OID, b"ca\nb\n\x86Qs"], None),
        ([b"V\\u005fparent\n", OID, b"ca\nb\n\x86Q"], None),
        ([b"P12345678\n"], None),
        ([OID, b"ca\nb\n\x86Q\xff"], None),
        ([OID[:5]], None),
    ],
)
def test_references_are_read_off_the_bytes_only_where_that_is_sure(
    parts: list[bytes], count: int | None
) -> None:
    data = pickles(*parts)
    found = oids_in(data)
    assert found == (None if count is None else [Oid(OID[2:])] * count)
    compressed = b".z" + zlib.compress(data)
    assert oids_in(compressed) == found
    if found is not None:
        assert [each for each in all_references(data) if isinstance(each, Reference)] == [
            Reference(oid, each.kind) for oid, each in zip(found, all_references(data), strict=True)
        ]


def test_what_zodb_writes_is_read_off_the_bytes_as_by_reading_it(site: Site) -> None:
    filled(site)
    quick = 0
    with TransactionLog(site.filestorage) as log:
        objects = Objects(log)
        for record in objects.records():
            held = objects.held(record)
            assert held is not None
            found = oids_in(held.data)
            if found is not None:
                quick += bool(found)
                assert found == [each.oid for each in all_references(held.data)]
    assert quick


@pytest.mark.parametrize("made", [Operated, OperatedInRepository])
def test_what_two_moments_have_in_common_is_read_once(site: Site, made: type[Operated]) -> None:
    filled(site)
    operated = made(site)
    operated.backup()
    first = operated.points()[-1].moment
    site.commit({"later": 1})
    operated.backup()
    run = operated.run("objects")
    with opened_objects(run, first) as before:
        for live in (False, True):
            with opened_objects(run, None, live=live) as alone:
                everything = {held.oid: held.tid for held in all_of(alone.objects)}
            with opened_objects(run, None, live=live, earlier=before.objects) as after:
                assert {held.oid: held.tid for held in all_of(after.objects)} == everything
                unchanged = set(after.objects.unchanged())
                changed = {record.oid for record in after.objects.records()}
                assert unchanged and changed
                assert unchanged | changed == set(everything)
                assert not unchanged & changed


@pytest.mark.parametrize("made", [Operated, OperatedInRepository])
def test_the_index_of_the_restore_point_tells_what_the_whole_log_does(
    site: Site, made: type[Operated], tmp_path: Path
) -> None:
    """Also at an earlier moment, and without the index."""
    filled(site)
    site.commit({"a": 1}, at=NOON)
    operated = made(site)
    operated.backup()
    site.commit({"a": 2, "b": 1}, at=NOON + timedelta(minutes=70))
    operated.now += timedelta(hours=1)
    operated.backup()
    for when in (None, NOON - timedelta(minutes=30), NOON + timedelta(minutes=75)):
        with opened_objects(operated.run("objects"), when) as opened:
            assert opened.state is not None and opened.state.log is not None
            opened.state.log.copy_to(tmp_path / "copy.fs", Files(), ignore)
            with TransactionLog(tmp_path / "copy.fs") as log:
                expected = [(it.oid, it.tid, it.data) for it in every(Objects(log))]
            assert [(it.oid, it.tid, it.data) for it in every(opened.objects)] == expected


def every(objects: Objects) -> Iterator[Held]:
    return filter(None, map(objects.held, objects.records()))


def test_an_index_that_names_another_object_is_no_way_to_show_that(site: Site) -> None:
    filled(site)
    operated = Operated(site)
    operated.backup()
    with opened_objects(operated.run("objects"), None) as opened:
        objects = opened.objects
        plone, news = (place_of(objects, path).held.oid for path in ("/Plone", "/Plone/news"))
        objects._places[news] = objects._places[plone]
        with pytest.raises(IntegrityError, match="names another object"):
            objects.load(news)


def test_a_log_that_was_packed_has_nothing_in_common_with_the_one_before(site: Site) -> None:
    filled(site)
    operated = Operated(site)
    operated.backup()
    run = operated.run("objects")
    site.commit({"filled": 2})
    site.pack()
    with (
        opened_objects(run, None) as before,
        opened_objects(run, None, live=True, earlier=before.objects) as after,
    ):
        assert list(after.objects.unchanged()) == []


def all_of(objects: Objects) -> Iterator[Held]:
    """Yield all objects, also those that are unchanged."""
    oids = {*objects.unchanged(), *(record.oid for record in objects.records())}
    return filter(None, map(objects.load, oids))
