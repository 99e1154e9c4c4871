"""What a script imports: what its verb needs for this run, and no more.

Each area of the house has a room that is imported only by what needs the area.  Libraries stand
for what they cost.  A run imports the areas that its row names, and none of the others.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from collective.recipe.backup.config import STANDARD
from collective.recipe.backup.errors import DONE
from collective.recipe.backup.sitebackup import main
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.scripts import environment

ROOMS = {
    "adding to a chain": "repozo.adding",
    "blobs from the log": "filestorage.blobrecords",
    "trees of blobs": "blobs.sets",
    "archives of blobs": "blobs.archives.archivereading",
    "adding to a repository": "destinations.repository.newpoint",
    "chunks": "repository.reading",
    "restoring": "restoring.staging",
    "putting in place": "restoring.swap",
    "verifying": "destinations.directory.verification",
    "merging": "repozo.merge",
    "removing": "repozo.chainremoval",
    "doctor": "operations.doctor",
    "report": "report.page",
    "transactions": "transactions.logged",
    "rehearsal": "operations.rehearse",
    "status": "operations.status",
    "follow": "operations.follow",
    "pings": "pinging",
    "metrics": "operations.measures",
    "progress bars": "cli.bars",
}
LIBRARIES = {
    "gzip": "isal",
    "md5": "hashlib",
    "processes": "subprocess",
    "threads": "concurrent.futures",
    "terminal": "shutil",
    "C": "ctypes",
    "network": "socket",
    "ZODB": "ZODB",
    "buildout": "zc.buildout",
    "completion": "shtab",
    "decimals": "decimal",
    "chance": "random",
    "serialised objects": "pickle",
    "encryption": "cryptography",
    "compression": "zstandard",
}
SCRIPT = """
import sys
from collective.recipe.backup.{door} import main
code = main(*sys.argv[1:{arguments}], sys.argv[{arguments}:])
print(*sys.modules, sep="\\n")
sys.exit(code)
"""


def areas(modules: set[str]) -> set[str]:
    """Return the areas that some *modules* belong to."""
    rooms = {area for area, room in ROOMS.items() if f"collective.recipe.backup.{room}" in modules}
    return rooms | {area for area, library in LIBRARIES.items() if library in modules}


def imported(arguments: list[str | Path], *, door: str = "cli", where: Path | None = None):
    """Return all modules that a script imported by its end."""
    skipped = 4 if door == "cli" else 1
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(door=door, arguments=skipped), *arguments],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=where,
    )
    return set(done.stdout.splitlines())


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Operated:
    """A site that is backed up to its present state."""
    site = Site(tmp_path_factory.mktemp("site"))
    site.commit({"a": 1}, {"b": b"blob"})
    operated = Operated(site)
    operated.backup()
    return operated


READING = {"gzip", "md5", "threads"}
WRITING = {*READING, "adding to a chain", "serialised objects", "blobs from the log"}
"""Serialised: the copy of an index, which is a pickle."""
BLOBS = {"trees of blobs", "threads"}
VERIFYING = {*READING, "verifying", "archives of blobs", "blobs from the log"}

VERBS = {
    "backup": set(),
    "backup --full": {*WRITING, *BLOBS, "C"},
    "list": set(),
    "list --json": set(),
    "log": {*READING, "serialised objects", "transactions"},
    "list --content": {*READING, "serialised objects"},
    "prune": set(),
    "prune --dry-run": set(),
    "status": {"status", "metrics", "putting in place"},
    "report": {"status", "report", "putting in place"},
    "verify": {*VERIFYING, "serialised objects"},
    "verify --sample 10%": {*VERIFYING, "serialised objects", "decimals"},
    "restore --no-prompt --to restored": {
        *READING,
        *("restoring", "putting in place", "serialised objects", "C"),
    },
    "restore --help": set(),
}
"""What runs over a site need that has nothing new, each the first of its kind."""


@pytest.mark.parametrize("command", VERBS)
def test_a_verb_imports_what_it_needs(operated: Operated, command: str) -> None:
    verb, *arguments = command.split()
    place = operated.site.directory
    modules = imported([verb, STANDARD, operated.config_path, "-q", *arguments], where=place)
    assert areas(modules) == VERBS[command]


def test_a_run_that_may_say_something_can_show_how_far_it_is(operated: Operated) -> None:
    modules = imported(["backup", STANDARD, operated.config_path])
    assert areas(modules) == {"progress bars"}


def test_a_day_without_blobs_reads_none(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.commit({"a": 1})
    operated = Operated(site, blobs=False)
    operated.backup()
    site.commit({"a": 2})
    modules = imported(["backup", STANDARD, operated.config_path, "-q"])
    assert areas(modules) == WRITING - {"blobs from the log"}


def test_a_rehearsal_is_what_imports_zodb(operated: Operated) -> None:
    modules = imported(["rehearse", STANDARD, operated.config_path, "-q"])
    assert {"ZODB", "rehearsal", "restoring"} <= areas(modules)
    assert not areas(modules) & {"report", "doctor", "adding to a chain", "buildout"}


def test_sitebackup_imports_what_a_script_does(operated: Operated) -> None:
    place = operated.site.directory
    var = place / "var"
    options = {
        "datafs": operated.site.filestorage,
        "blob_storage": operated.site.blobstorage,
        "location": var / "backups",
        "blobbackuplocation": var / "blobstoragebackups",
    }
    settings = [f"--set={name}={value}" for name, value in options.items()]
    modules = imported(["backup", "-q", *settings], door="sitebackup", where=place)
    assert areas(modules) == set()


def test_a_repository_to_which_nothing_is_to_be_added_is_only_looked_at(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.commit({"a": 1}, {"b": b"blob"})
    (tmp_path / "passphrase").write_text("correct horse battery staple\n")
    (tmp_path / "passphrase").chmod(0o600)
    options = {
        "datafs": site.filestorage,
        "blob_storage": site.blobstorage,
        "location": "none",
        "locationprefix": tmp_path,
        "site_name": "example",
        "repository": tmp_path / "repository",
        "repository_passphrase_file": tmp_path / "passphrase",
    }
    settings = [f"--set={name}={value}" for name, value in options.items()]
    for command in (["repository", "init"], ["backup"]):
        assert main([*command, "-q", *settings]) == DONE
    modules = imported(["backup", "-q", *settings], door="sitebackup", where=tmp_path)
    assert areas(modules) == set()
    assert not any("destinations.directory.directorydestination" in each for each in modules)


def test_a_process_that_stays_imports_every_area_when_it_begins() -> None:
    """What is installed later may be another release."""
    script = (
        "import sys; from collective.recipe.backup.operations.preloading import import_all_rooms\n"
        "import_all_rooms(); print(*sys.modules)"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, text=True, check=True)
    assert areas(set(done.stdout.split())) >= ROOMS.keys() - {"progress bars"}


def test_every_room_and_library_that_stands_for_an_area_is_imported_by_something() -> None:
    """Else nothing would be seen of a room that has another name by now."""
    for room in ROOMS.values():
        import_module(f"collective.recipe.backup.{room}")
    for library in LIBRARIES.values():
        assert find_spec(library), library
