"""Each layout of backups that there is can be opened, and keeps the contract of states."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from ZODB.scripts import repozo

from collective.recipe.backup.tests.contracts.state import Kept, Moment, StateContract, sha
from collective.recipe.backup.tests.keptdirectories import KeptDirectories
from collective.recipe.backup.tests.older import FORMATS, blobs_of, unpacked
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.unit.test_blob_styles import STYLES

Make = Callable[[Path], Kept]

OURS: Mapping[str, dict] = {
    "chain": {},
    "chain-plain": {"gzip": False},
    "without-blobs": {"blobs": False},
    **STYLES,
}
ONLY_BLOBS = {
    f"only-blobs-{name}": {"only_blobs": True, **options}
    for name, options in {"chain": {}, **STYLES}.items()
    if "rsync" not in name
}


def moment_of(site: Site, when: object, *, log: bool = True, blobs: bool = True) -> Moment:
    """Return what *site* is now."""
    return Moment(
        when=when,
        log=sha(site.filestorage.read_bytes()) if log else None,
        blobs=blobs_of(site.blobstorage) if blobs else None,
    )


def step(site: Site, number: int) -> object:
    """Commit something; return the tid."""
    value = f"{number} " * 2000
    blobs = {"a": b"a%d" % number, f"b{number}": bytes([number]) * 5000}
    at = NOON + timedelta(minutes=10 * number)
    return site.commit({"number": value}, blobs, at=at)


def ours(directory: Path, *, blobs: bool = True, **options: object) -> Kept:
    """Back up full, twice more, and full again; each moment can be had."""
    operated = Operated(Site(directory), blobs=blobs, keep=0, **options)
    site, moments = operated.site, []
    (site.blobstorage / "notes").mkdir()
    (site.blobstorage / "notes" / "read me").write_text("of the sysadmin")
    (site.blobstorage / "a link").symlink_to("notes/read me")
    is_log = not options.get("only_blobs")
    for number in range(7):
        tid = step(site, number)
        if number in (1, 3, 5, 6):
            point = operated.backup(full=number == 5).point
            if not is_log:
                moments.append(moment_of(site, point.moment, log=False))
        if is_log:
            moments.append(moment_of(site, tid, blobs=blobs))
    return KeptDirectories(operated=operated, moments=tuple(moments))


def by_a_program(directory: Path) -> Kept:
    """Let ``repozo = PATH`` make the backups of the filestorage."""
    program = directory / "repozo"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!{sys.executable}\nfrom ZODB.scripts.repozo import main\nmain()\n")
    program.chmod(0o755)
    operated = Operated(Site(directory / "site"), repozo=program)
    moments = []
    for number in range(2):
        step(operated.site, number)
        point = operated.backup(full=not number).point
        moments.append(moment_of(operated.site, point.moment))
        time.sleep(1.1)  # repozo names its files by its own clock, in seconds
    return KeptDirectories(operated=operated, moments=tuple(moments))


def by_repozo(directory: Path, *arguments: str) -> Kept:
    """Let ZODB's repozo make all, without a digest of ours."""
    operated = Operated(Site(directory), blobs=False)
    place, moments = operated.place().filestorage, []
    place.mkdir()
    for number in range(4):
        step(operated.site, number)
        source = str(operated.site.filestorage)
        orders = repozo.parseargs(["-B", "-f", source, "-r", str(place), *arguments])
        now = NOON + timedelta(hours=number)
        orders.test_now = now.timetuple()[:6]
        repozo.do_backup(orders)
        moments.append(moment_of(operated.site, now, blobs=False))
    return KeptDirectories(operated=operated, moments=tuple(moments))


def older(directory: Path, path: Path) -> Kept:
    """Take what an older release made."""
    states = unpacked(path, directory)
    only_blobs = "only-blobs" in path.name
    operated = Operated(Site(directory), keep=9, keep_blob_days=0, only_blobs=only_blobs)
    moments = tuple(
        Moment(
            when=datetime.fromisoformat(state["moment"]),
            log=None if only_blobs else state["filestorage"],
            blobs=state["blobs"],
        )
        for state in states
    )
    operated.now = moments[-1].when + timedelta(minutes=1)
    return KeptDirectories(operated=operated, moments=moments, telltale=False)


MAKERS: dict[str, Make] = {
    **{
        name: lambda directory, options=options: ours(directory, **options)
        for name, options in (OURS | ONLY_BLOBS).items()
    },
    "a-program": by_a_program,
    "repozo": by_repozo,
    "repozo-gzip": lambda directory: by_repozo(directory, "-z"),
    **{
        path.name.removesuffix(".tar.gz"): lambda directory, path=path: older(directory, path)
        for path in sorted(FORMATS.glob("*.tar.gz"))
    },
}


@pytest.fixture(
    scope="class",
    params=[
        pytest.param(name, marks=[pytest.mark.needs("rsync")] if "rsync" in name else [])
        for name in MAKERS
    ],
)
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return MAKERS[request.param](tmp_path_factory.mktemp("kept") / "site")


@pytest.mark.slow
class TestStates(StateContract):
    """Ours of all kinds, those of repozo, and those of older releases."""
