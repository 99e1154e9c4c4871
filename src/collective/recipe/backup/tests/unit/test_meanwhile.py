"""A moment that is looked into while backups are made, removed, merged and collected."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.objects.folderchanges import folders
from collective.recipe.backup.objects.paths import place_of
from collective.recipe.backup.operations.chronicle import ChronicleOrder, chronicles
from collective.recipe.backup.operations.deleted import TwoMoments, compared, deleted
from collective.recipe.backup.operations.extract import extract
from collective.recipe.backup.operations.objects import items, opened_objects
from collective.recipe.backup.repository.collecting import collect
from collective.recipe.backup.tests.repositoryruns import OperatedInRepository
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.unit.test_browse import answering

Answer = Callable[[], object]

LARGE = 700_000
"""Bytes of a value: more than what is read ahead, and than a piece that is merged."""


def objects_in(operated: Operated, stack: ExitStack, _directory: Path) -> Answer:
    opened = stack.enter_context(opened_objects(operated.run("objects"), None))
    return lambda: items(opened, place_of(opened.objects, "/values"))


def export_of(operated: Operated, stack: ExitStack, directory: Path) -> Answer:
    opened = stack.enter_context(opened_objects(operated.run("extract"), None))
    target = directory / "blobs.zexp"

    def answer() -> object:
        target.unlink(missing_ok=True)
        extract(opened, place_of(opened.objects, "/blobs"), target, operated.run("x").files)
        return target.read_bytes()

    return answer


def transactions_in(operated: Operated, stack: ExitStack, _directory: Path) -> Answer:
    [chronicle] = stack.enter_context(chronicles(operated.run("log"), ChronicleOrder()))
    first = next(chronicle.entries)
    return lambda: [first.tid, *(entry.tid for entry in chronicle.entries)]


def differences(operated: Operated, stack: ExitStack, _directory: Path) -> Answer:
    points = operated.points()
    moments = TwoMoments(before=points[0].tid, after=points[-1].tid, live=False)
    both = stack.enter_context(compared(operated.run("diff"), moments))
    return lambda: (folders(both.comparison, "/", 2), deleted(both, "/"))


def pages(operated: Operated, stack: ExitStack, directory: Path) -> Answer:
    served = stack.enter_context(answering(operated, directory / "downloads"))
    at = operated.points()[-1].tid
    assert at is not None
    url = f"objects?at={at.hex()}&path=/values"
    served.page(url)

    def answer() -> object:
        status, _headers, body = served.ask(url)
        if status != 200:
            assert b"That cannot be shown" in body
            raise BackupError("a page that says so")
        return body

    return answer


def backup(operated: Operated) -> None:
    operated.site.commit({"a": "b" * LARGE, "z": 1}, {"x": b"later"}, at=operated.now)
    operated.backup()
    operated.backup(full=True)


def merge(operated: Operated) -> None:
    before = sorted(operated.place().filestorage.glob("*z"))
    list(operated.destination().tidy(operated.now + timedelta(hours=1)))
    assert not before or sorted(operated.place().filestorage.glob("*z")) != before


def prune(operated: Operated) -> None:
    backup(operated)
    destination = operated.destination()
    destination.remove(operated.points()[:-1], certain=True)


def collected(operated: Operated) -> None:
    operated.site.pack()
    prune(operated)
    if isinstance(operated, OperatedInRepository):
        for _run in range(4):
            operated.now += timedelta(days=9)
            with operated.destination()._repository() as repository:  # type: ignore[attr-defined]
                collect(repository, yes=True)


@pytest.mark.parametrize("made", [Operated, OperatedInRepository])
@pytest.mark.parametrize("event", [backup, merge, prune, collected])
@pytest.mark.parametrize("look", [objects_in, export_of, transactions_in, differences, pages])
def test_what_is_looked_into_stays_or_ends_with_a_sentence_and_is_never_another_moment(
    site: Site,
    tmp_path: Path,
    made: type[Operated],
    event: Callable[[Operated], None],
    look: Callable[[Operated, ExitStack, Path], Answer],
) -> None:
    operated: Any = made(site, keep=0)
    for number in range(4):
        at = NOON + timedelta(minutes=20 * number)
        site.commit({"a": str(number) * LARGE, f"{number}": 1}, {"x": b"%d" % number}, at=at)
        operated.now = at - timedelta(hours=1)
        operated.backup()
    operated.now = NOON + timedelta(hours=2)
    with ExitStack() as stack:
        expected = look(operated, stack, tmp_path)()
    with ExitStack() as stack:
        answer = look(operated, stack, tmp_path)
        event(operated)
        try:
            found = answer()
        except BackupError:
            assert event not in (backup, merge), "nothing that is needed has gone"
        else:
            assert found == expected
