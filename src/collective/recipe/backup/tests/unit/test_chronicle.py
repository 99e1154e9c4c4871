"""Who did what: the transactions out of all that the backups have, and of the live site."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from collective.recipe.backup.cli import main
from collective.recipe.backup.filestorage import classes
from collective.recipe.backup.filestorage.classes import UNKNOWN, KnownClasses, class_of
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.model import Hole
from collective.recipe.backup.operations.chronicle import ChronicleOrder, chronicles
from collective.recipe.backup.restorepoints import choose
from collective.recipe.backup.tests import logs
from collective.recipe.backup.tests.repositoryruns import OperatedInRepository
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.times import Tid, tid_before
from collective.recipe.backup.transactions.filters import Filter
from collective.recipe.backup.transactions.logged import GONE, Logged, logged
from collective.recipe.backup.transactions.merging import merged

HOUR = timedelta(hours=1)


def told(operated: Operated, **order: object) -> list[Logged]:
    with chronicles(operated.run("log"), ChronicleOrder(**order)) as [found]:
        return list(found.entries)


def said(operated: Operated, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main("log", "standard", operated.config_path, arguments) == 0
    return capsys.readouterr().out


def change(site: Site, user: str, note: str, value: object, *, at: datetime | None = None) -> Tid:
    return site.commit({"page": value}, by=user, note=note, at=at)


@pytest.fixture(params=[Operated, OperatedInRepository])
def made(request: pytest.FixtureRequest) -> Callable[[Site], Operated]:
    """A site that is backed up to a directory, or else to a repository."""
    return request.param


def test_what_a_pack_has_dropped_is_told_by_older_restore_points(
    site: Site, made: Callable[[Site], Operated]
) -> None:
    operated = made(site)
    for number in range(3):
        change(site, "jane", f"edit {number}", number, at=NOON - HOUR + timedelta(minutes=number))
    operated.backup()
    before = site.tids()
    site.pack(NOON - HOUR + timedelta(minutes=30))
    change(site, "joe", "afterwards", 4, at=NOON + HOUR / 2)
    operated.backup()
    assert len(site.tids()) < len(before)
    found = told(operated)
    assert [each.tid for each in found] == [*before, site.tids()[-1]]
    assert [each.user for each in found[-4:]] == [b"jane", b"jane", b"jane", b"joe"]
    # what a pack has rewritten lacks objects that the older restore point knows
    assert not any(each.packed for each in found)
    assert [each.objects for each in found[-4:]] == [3, 2, 2, 2]


def test_what_a_restore_took_back_is_told_and_marked(site: Site) -> None:
    operated = Operated(site)
    change(site, "jane", "kept", 1, at=NOON - HOUR)
    operated.backup()
    change(site, "jane", "regretted", 2, at=operated.now + HOUR / 2)
    operated.backup()
    operated.restore(operated.points()[0].moment)
    change(site, "joe", "anew", 3, at=operated.now + HOUR / 2)
    operated.backup()
    marks = {each.description: each.cut_off for each in told(operated)[-3:]}
    assert marks == {b"kept": False, b"regretted": True, b"anew": False}


def test_each_id_is_a_moment_and_the_one_before_it_is_the_state_without_it(site: Site) -> None:
    operated = Operated(site)
    change(site, "jane", "good", 1, at=NOON - HOUR)
    bad = change(site, "joe", "bad", 2, at=NOON - HOUR / 2)
    operated.backup()
    assert choose(operated.points(), tid_before(bad)).until == tid_before(bad)
    to = site.directory / "aside"
    arguments = ["--no-prompt", "--to", str(to), "--before", bad.hex()]
    assert main("restore", "standard", operated.config_path, arguments) == 0
    with TransactionLog(to / "Data.fs") as log:
        assert [each.description for each in logged(log)][-1] == b"good"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--before", "2026-03-01"], "is no transaction"),
        (["--before", "0000000000000001", "yesterday"], "cannot be used together"),
    ],
)
def test_before_takes_a_transaction_alone(
    site: Site, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    operated = Operated(site)
    assert main("verify", "standard", operated.config_path, arguments) == 2
    assert words in capsys.readouterr().err


def test_the_span_the_user_and_the_description_choose(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    operated = Operated(site)
    for minute, user, note in (
        (0, "/Plone/acl_users jane", "/Plone/News/edit"),
        (1, "joe", "/Plone/news/delete"),
        (2, "jane", "/Plone/events"),
    ):
        change(site, user, note, minute, at=NOON - HOUR + timedelta(minutes=minute))
    operated.backup()

    def notes(*arguments: str) -> list[str]:
        document = json.loads(said(operated, capsys, "--json", *arguments))
        return [each["description"] for each in document["transactions"]]

    assert notes("--user", "jane") == ["/Plone/News/edit", "/Plone/events"]
    assert notes("--grep", "/NEWS") == ["/Plone/News/edit", "/Plone/news/delete"]
    assert notes("--since", "2026-03-01-11-01") == ["/Plone/news/delete", "/Plone/events"]
    # the whole of a second is meant
    span = ["--since", "2026-03-01-11-00", "--until", "2026-03-01-11-01"]
    assert notes(*span) == ["/Plone/News/edit", "/Plone/news/delete"]
    assert notes("--last", "1", "--live") == ["/Plone/events"]
    assert notes("--since", site.tids()[-1].hex()) == ["/Plone/events"]
    assert "no such transaction" in said(operated, capsys, "--user", "nobody")
    assert main("log", "standard", operated.config_path, ["--since", "2999-01-01"]) == 0
    assert "--since 2999-01-01 is 2999-01-01 00:00:00 UTC, which is yet to come" in (
        capsys.readouterr().err
    )


def test_what_strangers_wrote_reaches_no_terminal_as_it_is(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    operated = Operated(site)
    change(site, "\x1b]0;evil\x07", "two\nlines \u202e turned", 1)
    texts = b"\xff\xfeuser", b"\x1b[2J\r", b""
    with site.filestorage.open("ab") as file:
        later = Tid(bytes.fromhex("0fffffffffffffff"))
        file.write(logs.transaction(file.tell(), later, texts=texts))
    operated.backup()
    text = said(operated, capsys)
    assert all(char.isprintable() or char == "\n" for char in text)
    assert "\\x1b]0;evil\\x07: two\\nlines \\u202e turned" in text
    assert "\\xff\\xfeuser: \\x1b[2J" in text
    document = json.loads(said(operated, capsys, "--json"))
    assert document["transactions"][-1]["user"] == "\\xff\\xfeuser"
    assert document["transactions"][-2]["user"] == "\x1b]0;evil\x07"
    text = said(operated, capsys, "--stat")
    assert all(char.isprintable() or char == "\n" for char in text)


def test_an_undo_is_marked_and_kinds_are_read_without_their_classes(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    operated = Operated(site)
    tid = change(site, "jane", "new page", 1, at=NOON - HOUR)
    site.undo(tid, at=NOON - HOUR / 2)
    operated.backup()
    written, undone = told(operated, with_kinds=True)[-2:]
    assert {kind: it.objects for kind, it in written.kinds.items()} == {
        "BTrees.OOBTree.OOBTree": 1,
        "persistent.mapping.PersistentMapping": 2,
    }
    assert (written.undoing, undone.undoing) == (0, 3)
    assert set(undone.kinds) == {*written.kinds, GONE}
    assert "(an undo)" in said(operated, capsys)
    large = said(operated, capsys, "--large", "1").splitlines()
    assert len([line for line in large if line[0] != " "]) == 2
    document = json.loads(said(operated, capsys, "--json", "--stat"))["storages"][0]
    assert document["users"]["jane"]["transactions"] == 1
    assert document["days"]["2026-03-01"]["transactions"] == 2
    assert document["kinds"]["BTrees.OOBTree.OOBTree"]["objects"] >= 2


def test_an_error_on_the_way_leaves_valid_json(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    operated = Operated(site)
    first = change(site, "jane", "new page", 1)
    with TransactionLog(site.filestorage) as log:
        last = log.before(log.size)
        assert last is not None and last.tid == first
    with site.filestorage.open("r+b") as file:
        file.seek(last.records + 24)  # where the transaction begins, as its record says
        file.write(b"\xff" * 8)
    assert main("log", "standard", operated.config_path, ["--live", "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert document["transactions"]
    assert document["error"]["exit_code"] == 3


def test_without_any_restore_point_that_is_said(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    operated = Operated(site)
    assert main("log", "standard", operated.config_path, []) == 4
    assert "there is no restore point yet" in capsys.readouterr().err


def test_a_chain_that_continues_is_read_once(site: Site) -> None:
    operated = Operated(site)
    for number in range(3):
        site.commit({"a": number})
        operated.backup()
    with chronicles(operated.run("log"), ChronicleOrder()) as [found]:
        assert [each.tid for each in found.entries] == site.tids()


def test_a_log_that_serves_only_a_part_is_read_for_that() -> None:
    entry = Logged(Tid(b"\0" * 7 + b"\5"), 1, 1, 0, False, False, b"", b"")
    older, newer = entry._replace(objects=9), entry._replace(packed=True)
    hole = Hole(Tid(bytes(8)), Tid(b"\xff" * 8))
    assert [*merged([[newer], [older]], [(), (hole,)])] == [older]
    assert [*merged([[], [older]], [(), (hole,)])] == [older._replace(cut_off=True)]


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x80\x03cBTrees.OOBTree\nOOBTree\nq\x01.", "BTrees.OOBTree.OOBTree"),
        (b"(cpackage\nOf\ntq\x01.", "package.Of"),
        (b"\x80\x04\x8c\x09ZODB.blob\x94\x8c\x04Blob\x94\x93\x94.", "ZODB.blob.Blob"),
        (b"\x80\x04\x95\x17" + bytes(7) + b"\x8c\x01a\x94\x8c\x01B\x94\x93.", "a.B"),
        (b"c\xff\x1b\nx\n.", "\\xff\x1b.x"),
        (b"anything", UNKNOWN),
        (b".z" + b"broken", UNKNOWN),
        (b"", UNKNOWN),
    ],
)
def test_a_class_is_read_off_the_bytes(head: bytes, name: str) -> None:
    assert class_of(head) == name
    known = KnownClasses()
    for more in (b"", b"}q\x02.", bytes(1000), b"}q\x02."):
        assert known.at(b"before" + head + more, 6) == class_of(head + more)


def test_classes_with_the_same_begin_are_told_apart_and_are_not_held_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(classes, "_KNOWN", 3)
    known = KnownClasses()
    names = [f"a.package.with.a.long.name.C{number}" for number in range(10)]
    for name in [*names, *reversed(names)]:
        module, _dot, last = name.rpartition(".")
        assert known.at(b"\x80\x03c%b\n%b\nq\x01." % (module.encode(), last.encode()), 0) == name
        assert sum(map(len, known._known.values())) <= 3


def test_a_filter_takes_the_whole_user_or_the_id() -> None:
    entry = Logged(Tid(bytes(8)), 1, 1, 0, False, False, b"/Plone/acl_users jane", b"")
    assert Filter(user="jane").matches(entry)
    assert Filter(user="/Plone/acl_users jane").matches(entry)
    assert not Filter(user="jan").matches(entry)
