"""Four weeks of a site, its loss and its return, as a terminal and the report show them.

Everything is real: a ZODB with blobs, the command ``sitebackup``, the files that it writes.
Only the clock is set, so that weeks take seconds and two runs differ in durations alone.
"""

from __future__ import annotations

import io
import os
import random
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

from collective.recipe.backup import times
from collective.recipe.backup.sitebackup import main
from collective.recipe.backup.tests.samples import Site

SHOWN = "/srv/site"
"""How the pictures call the directory of the site."""
FIRST = datetime(2026, 3, 2, 3, tzinfo=timezone.utc)
"""The night of the first backup, a Monday."""
FEW, MANY = 5, 28
"""Nights of a story for a terminal, and of one for the report."""
SETTINGS = "keep = 3\nkeep_daily = 14\n"


class Typed(NamedTuple):
    """A command, and what it printed."""

    command: str
    answer: str


def told(directory: Path, *, nights: int) -> list[Typed]:
    """Let a site live in *directory*, lose it, restore it; return what a terminal showed.

    After it the site is as it was before its loss, and the backups lie beside it.
    """
    with standing_in(directory):
        site = Site(directory, founded=FIRST - timedelta(days=9))
        (directory / "sitebackup.toml").write_text(SETTINGS, encoding="utf-8")
        lived(site, nights)
        morning = FIRST + timedelta(days=nights - 1, hours=6, minutes=12)
        before = site.contents()
        found = [
            typed("sitebackup backup", morning),
            typed("sitebackup list", morning + timedelta(seconds=40)),
            typed("rm -r var/filestorage var/blobstorage", morning + timedelta(minutes=1)),
            typed("sitebackup restore --no-prompt", morning + timedelta(minutes=2)),
        ]
        assert site.contents() == before
        return found


def lived(site: Site, nights: int) -> None:
    """Change and back up a site each night; pack, verify and rehearse it on Sundays."""
    chance = random.Random(7)
    for night in range(nights):
        now = FIRST + timedelta(days=night)
        worked(site, chance, night, now - timedelta(hours=9))
        if night % 7 == 6:
            site.pack(now - timedelta(days=2))
        typed("sitebackup backup -q", now)
        if night % 7 == 6:
            typed("sitebackup verify -q", now + timedelta(hours=2))
            typed("sitebackup rehearse -q", now + timedelta(hours=3))
    worked(site, chance, nights, FIRST + timedelta(days=nights - 1, hours=5))


def worked(site: Site, chance: random.Random, day: int, end: datetime) -> None:
    """Commit the work of one day, some texts and images, until *end*."""
    texts = {f"page {day}.{number}": chance.randbytes(2_000).hex() for number in range(30)}
    images = {f"image {day}.{number}": chance.randbytes(60_000) for number in range(4)}
    with site.opened():
        site.commit(dict(list(texts.items())[:15]), at=end - timedelta(hours=3))
        site.commit(dict(list(texts.items())[15:]), images, at=end)


def typed(command: str, now: datetime) -> Typed:
    """Do what *command* says at the moment *now*.  Raises AssertionError if it fails."""
    words = shlex.split(command)
    if words[0] == "rm":
        for path in words[2:]:
            shutil.rmtree(path)
        return Typed(command, "")
    shown = io.StringIO()
    with at(now), redirect_stdout(shown), redirect_stderr(shown):
        code = main(words[1:])
    answer = shown.getvalue().replace(str(Path.cwd()), SHOWN)
    assert code == 0, f"{command}: {answer}"
    return Typed(command, answer)


def report(directory: Path) -> str:
    """Return the page of ``sitebackup report`` about a site of which *told* has told."""
    path = directory / "report.html"
    with standing_in(directory):
        typed(
            f"sitebackup report {shlex.quote(str(path))}",
            FIRST + timedelta(days=MANY - 1, hours=6, minutes=30),
        )
    page = path.read_text(encoding="utf-8")
    return page.replace(str(directory), SHOWN).replace(os.uname().nodename, "www.example.org")


@contextmanager
def standing_in(directory: Path) -> Iterator[None]:
    """Be in *directory* while the body runs, without settings from around it."""
    before, there = dict(os.environ), Path.cwd()
    for name in before:
        if name.startswith(("SITEBACKUP_", "COLLECTIVE_BACKUP_")):
            del os.environ[name]
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(there)
        os.environ.update(before)


@contextmanager
def at(now: datetime) -> Iterator[None]:
    """Set the clock: each look at it is at *now*."""
    real = times.utcnow
    times.utcnow = lambda: now
    try:
        yield
    finally:
        times.utcnow = real


def lines(found: Sequence[Typed]) -> list[str]:
    """Return the lines of a terminal: each command after a prompt, then its answer."""
    return [
        line
        for each in found
        for line in (f"$ {each.command}", *each.answer.rstrip("\n").splitlines(), "")
    ][:-1]
