"""Every parser of text or bytes that somebody else may have written, as a function of them.

Each takes the bytes and an empty directory.  It raises BackupError, which says in words what
is wrong, or UnreadableError, which its callers put into words; anything else that comes out is
a bug, and so is a parser that does not end.  ``examples`` are what the product itself writes,
for whoever wants to change them.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from blake3 import blake3

from collective.recipe.backup import history, pinging
from collective.recipe.backup.blobs.archives.archivenames import Archive, planned
from collective.recipe.backup.blobs.archives.archivereading import mark_of, members
from collective.recipe.backup.blobs.archives.archivestaging import stage
from collective.recipe.backup.blobs.archives.seal import seal, size_of_seal
from collective.recipe.backup.blobs.blobset import BlobSet
from collective.recipe.backup.blobs.checksums import Checksums
from collective.recipe.backup.blobs.marker import layout_of
from collective.recipe.backup.blobs.numbered import NumberedSet
from collective.recipe.backup.config import load, zope_parts
from collective.recipe.backup.config.storages import additional, alternatives
from collective.recipe.backup.destinations import damage, manifest, ownermarks
from collective.recipe.backup.destinations.damage import DamageFinding, Memory
from collective.recipe.backup.errors import BackupError
from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage import fsindex
from collective.recipe.backup.filestorage.blobrecords import blobs
from collective.recipe.backup.filestorage.framing import Framing
from collective.recipe.backup.filestorage.pickles import flaw_of
from collective.recipe.backup.filestorage.records import records_of
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.gzipping import BAD_GZIP
from collective.recipe.backup.jsonfile import Form, UnreadableError
from collective.recipe.backup.model import MAIN, Source
from collective.recipe.backup.operations import missingdisk, sampling
from collective.recipe.backup.options import declarations
from collective.recipe.backup.options.parsing import read
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.repozo import blocks, chains
from collective.recipe.backup.repozo.chains import Chain
from collective.recipe.backup.repozo.ledger import Part
from collective.recipe.backup.repozo.members import find_members
from collective.recipe.backup.repozo.partreading import pieces
from collective.recipe.backup.repozo.seekablepart import SeekablePart
from collective.recipe.backup.restoring import (
    giving_up,
    journal,
    journalcheck,
    swap,
    transplant,
    undoing,
)
from collective.recipe.backup.seekablegzip import SeekableGzip
from collective.recipe.backup.sitebackup import collective, zconfig
from collective.recipe.backup.sitebackup.databases import read_configuration
from collective.recipe.backup.sitebackup.settings import gathered
from collective.recipe.backup.tests.archived import SECOND, THIRD, Archived
from collective.recipe.backup.tests.runs import NOON, Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.smallfiles import content_of
from collective.recipe.backup.times import LAST_TID, parse

STAMP = "2026-03-01-12-00-00"

Parser = Callable[[bytes, Path], object]
PARSERS: dict[str, Parser] = {}


def parser(function: Parser) -> Parser:
    PARSERS[function.__name__] = function
    return function


def sealed(data: bytes, form: Form) -> bytes:
    """Return the object that *data* is with a check that fits: what no damage can be."""
    with suppress(ValueError, RecursionError):
        content = json.loads(data)
        if isinstance(content, dict):
            return form.encode(content_of(content, form))
    return data


# where the site is, and what is set


@parser
def zope_conf(data: bytes, room: Path) -> object:
    path = room / "zope.conf"
    path.write_bytes(data)
    root = zconfig.read(path)
    for way in root.walk():
        for key in ("path", "blob-dir", "mount-point", "instancehome"):
            with suppress(BackupError):
                way[-1].value(key)
    found = read_configuration(path, room)
    return [(it.name, it.whereabouts) for it in found.databases], found.sources


@parser
def toml(data: bytes, room: Path) -> object:
    (room / "sitebackup.toml").write_bytes(data)
    (room / "pyproject.toml").write_bytes(data)
    for name in ("sitebackup.toml", "pyproject.toml"):
        with suppress(BackupError):
            read(gathered(room / name, [], {}).texts)
    return None


@parser
def variables(data: bytes, room: Path) -> object:
    (room / ".env").write_bytes(data)
    return collective.env_file(room / ".env")


@parser
def settings(data: bytes, _room: Path) -> object:
    name, _colon, text = data.decode("utf-8", "surrogateescape").partition("=")
    known = declarations()
    # any name that begins with a letter stands for an option
    some = sorted(known)[ord(name[:1] or "a") % len(known)]
    return read({some: text, name: text})


@parser
def moment(data: bytes, _room: Path) -> object:
    return parse(data.decode("utf-8", "surrogateescape"))


@parser
def storage_lines(data: bytes, room: Path) -> object:
    main = Source(name=MAIN, filestorage=room / "Data.fs", blobstorage=room / "blobs")
    lines = data.decode("utf-8", "surrogateescape").splitlines()
    problems: list[str] = []
    found, _warnings = additional(lines, main, lambda path: room / path, problems)
    return alternatives(lines, [*found, main], lambda path: room / path, problems)


@parser
def url_of_a_ping(data: bytes, room: Path) -> object:
    (room / "url").write_bytes(data)
    try:
        url = pinging._looked_up(f"{pinging.FILE}{room / 'url'}", {})
    except pinging.PingFailed:
        return None
    return pinging._request(url, pinging.Event.FAILURE, data.decode("utf-8"))


@parser
def parts_of_a_buildout(data: bytes, _room: Path) -> object:
    """Lines of options; an empty one ends a part."""
    text = data.decode("utf-8", "surrogateescape")
    named = enumerate(text.split("\n\n"))
    parts = [
        zope_parts.ZopePart(str(number), dict(_option(line) for line in part.splitlines()))
        for number, part in named
    ]
    return zope_parts.found(parts)


def _option(line: str) -> tuple[str, str]:
    name, _equals, text = line.partition("=")
    return name.strip(), text


@parser
def stored_configuration(data: bytes, room: Path) -> object:
    (room / "config.json").write_bytes(data)
    return load(room / "config.json")


# what lies among the backups


@parser
def ledger_of_repozo(data: bytes, room: Path) -> object:
    for suffix in ("", chains.PRUNED, chains.MERGING):
        (room / f"{STAMP}.dat{suffix}").write_bytes(data)
    return chains.read_directory(room)


@parser
def manifest_of_a_restore_point(data: bytes, room: Path) -> object:
    manifest.path_of(room, STAMP).write_bytes(sealed(data, manifest.FORM))
    return manifest.read(room, STAMP)


@parser
def digests(data: bytes, room: Path) -> object:
    name = f"{STAMP}.fsz"
    (room / name).write_bytes(gzip.compress(bytes(3 << 20)))
    for whole in (data, data + blake3(data).digest()):
        blocks.blocks_path(room, name).write_bytes(whole)
        try:
            claimed = blocks.unpack(whole)
        except ValueError:
            claimed = None
        # what the ledger says of the data file fits its digests, and may be as wrong
        said = (claimed.start, claimed.end, claimed.checksum) if claimed else (0, 1, "0" * 32)
        part = Part(name, *said)
        with suppress(BackupError):
            if found := blocks.check_blocks(room, part):
                list(found.ranges())
        with suppress(BackupError):
            seekable = SeekablePart(Chain(room, STAMP, (part,)), part)
            for place in {part.start, (part.start + part.end) // 2, part.end - 1}:
                seekable.block(seekable.begin_of_block(place))
    return None


@parser
def data_file_read_at_a_place(data: bytes, room: Path) -> object:
    """Without digests: members are looked for."""
    path = room / f"{STAMP}.fsz"
    path.write_bytes(data)
    for size in (1, blocks.BLOCK_SIZE, 3 * blocks.BLOCK_SIZE):
        find_members(path, size, blocks.BLOCK_SIZE)
        with suppress(*BAD_GZIP):
            SeekableGzip(path).read(size // 2, 100)
    return None


@parser
def mark_of_the_owner(data: bytes, room: Path) -> object:
    path = room / ownermarks.NAME
    path.write_bytes(sealed(data, ownermarks.FORM))
    return ownermarks._read(path)


@parser
def memory_of_damage(data: bytes, room: Path) -> object:
    (room / damage.NAME).write_bytes(sealed(data, damage.FORM))
    return damage.read(room)


@parser
def history_of_runs(data: bytes, room: Path) -> object:
    lines = [sealed(line, history.FORM) for line in data.split(b"\n")]
    (room / history.NAME).write_bytes(b"".join(lines))
    return history.read(room)


@parser
def note_of_mounts(data: bytes, room: Path) -> object:
    (room / missingdisk.NAME).write_bytes(sealed(data, missingdisk.FORM))
    return missingdisk._noted(room / missingdisk.NAME)


@parser
def note_of_samples(data: bytes, room: Path) -> object:
    (room / sampling.NAME).write_bytes(sealed(data, sampling.FORM))
    return sampling._remembered(room / sampling.NAME)


@parser
def data_file(data: bytes, room: Path) -> object:
    (room / f"{STAMP}.fsz").write_bytes(data)
    framing = Framing(where=room)
    for piece in pieces(room / f"{STAMP}.fsz"):
        framing.feed(piece)
    return framing.finish()


# blobs


@parser
def list_of_blobs(data: bytes, room: Path) -> object:
    checksums = Checksums(room)
    half = data.rfind(b"\n", 0, len(data) // 2 + 1) + 1
    checksums.path.write_bytes(data[:half])
    checksums.added.write_bytes(data[half:])
    checksums.count()
    checksums.are_long()
    with suppress(BackupError):
        checksums.of("0x00/0x07")
    return list(checksums)


@parser
def notes_in_a_tree(data: bytes, room: Path) -> object:
    blob_set = BlobSet(room, "blobs")
    (room / "about").write_bytes(data)
    (room / "stamp").write_bytes(data)
    (room / ".layout").write_bytes(data)
    for act in (
        lambda: blob_set.foreign,
        lambda: NumberedSet(room, "blobs").recorded,
        lambda: layout_of(room),
    ):
        with suppress(BackupError):
            act()
    return None


def _archive(data: bytes, room: Path, *, compressed: bool) -> Archive:
    archive = planned(room, "blobs", STAMP, compressed=compressed)
    archive.path.write_bytes(data)
    return archive


def _taken_apart(archive: Archive) -> None:
    with suppress(BackupError):
        mark_of(archive)
    for member in members(archive, lambda _size: None):
        if member.dumpdir:
            member.dumpdir.names()
        for _piece in member.content:
            pass


@parser
def archive(data: bytes, room: Path) -> object:
    _taken_apart(_archive(data, room, compressed=False))
    return None


@parser
def archive_with_a_seal(data: bytes, room: Path) -> object:
    data = data[: len(data) // 512 * 512]
    whole = data + seal(blake3(data).hexdigest(), compressed=False)
    _taken_apart(_archive(whole, room, compressed=False))
    return None


@parser
def compressed_archive(data: bytes, room: Path) -> object:
    _taken_apart(_archive(data, room, compressed=True))
    return None


@parser
def unpacked_archive(data: bytes, room: Path) -> object:
    target = room / "inner" / "target"
    target.parent.mkdir()
    try:
        return stage(
            [_archive(data, room, compressed=False)],
            target,
            live=None,
            until=LAST_TID,
            files=Files(),
            progress=Silent(),
        )
    finally:
        names = {path.name for path in room.iterdir()}
        assert names <= {f"blobs.{STAMP}.tar", "inner", "more.conf"}
        assert {path.name for path in target.parent.iterdir()} <= {"target"}


# the live site


@parser
def filestorage(data: bytes, room: Path) -> object:
    path = room / "Data.fs"
    path.write_bytes(data)
    with TransactionLog(path) as log:
        end = log.end()
        for transaction in log.transactions(4, end.offset):
            for _record in records_of(log, transaction):
                pass
        return list(blobs(log, 4, end.offset))


@parser
def pickles(data: bytes, _room: Path) -> object:
    return flaw_of(data)


@parser
def index_of_a_filestorage(data: bytes, room: Path) -> object:
    (room / "index").write_bytes(data)
    return fsindex.position(room / "index")


@parser
def journal_of_a_restore(data: bytes, room: Path) -> object:
    path = journal.journal_path(room / "Data.fs")
    path.write_bytes(sealed(data, journal.FORM))
    swap.is_pending(path)
    undoing.replaced(path)
    undoing.named(path)
    journalcheck.check_names(path, ())
    with suppress(BackupError):
        giving_up.check(path)
    return journalcheck.check_same_files(path)


@parser
def list_of_a_difference(data: bytes, room: Path) -> object:
    (room / transplant.CHANGES).write_bytes(data)
    return list(transplant.read_changes(room))


def is_in_words(error: BaseException) -> bool:
    """Tell whether an error is one that a parser may raise."""
    return isinstance(error, BackupError | UnreadableError)


# what the product itself writes

ZOPE_CONF = b"""\
%define INSTANCE /srv/site
%define VAR $INSTANCE/var
instancehome $INSTANCE
%include more.conf
<zodb_db main>
    mount-point /
    cache-size 30000
    <blobstorage>
      blob-dir ${VAR}/blobstorage
      <filestorage>
        path $(HOME)/Data$$.fs
      </filestorage>
    </blobstorage>
</zodb_db>
<zodb_db other>
    mount-point /other
    <zeoclient>
      server 127.0.0.1:8100
      storage 1
      shared-blob-dir on
    </zeoclient>
</zodb_db>
<empty/>
"""
PARTS = b"""\
recipe = plone.recipe.zope2instance
zeo-client = on
zeo-address = [::1]:8100 db1.example.org:8100
zeo-client-client = one
zeo-var = ~/var
blob-storage = $HOME/blobs
shared-blob = off

recipe = plone.recipe.zeoserver
file-storage = var/filestorage/Data.fs
"""
TOML = b"""\
[tool.sitebackup]
keep = 3
datafs = "var/filestorage/Data.fs"
rsync_options = ["--archive", "--one"]
additional_filestorages = ["catalog %(x)s", '''raw''']
quick = true
[tool.collective-backup]
archive-blob = "yes"
when = 2026-03-01T12:00:00Z
size = 0x1F
table = {a.b.c = [1, 2.5, {d = "\\u00e9"}]}
"""


def examples(directory: Path) -> dict[str, list[bytes]]:
    """Return for each parser what it reads in real life; *directory* is there to make it."""
    site = Site(directory / "site")
    operated = Operated(site)
    for number in range(3):
        site.commit({"a": number}, {"x": b"%d" % number}, at=operated.now)
        operated.backup()
    operated.restore()
    backups = operated.place().filestorage
    trees = operated.place().blobstorage
    assert trees is not None

    def those(place: Path, pattern: str) -> list[bytes]:
        return [path.read_bytes() for path in sorted(place.rglob(pattern))]

    archived = Archived(directory / "archived")
    ids = [archived.put(number, number, b"blob" * number) for number in range(1, 4)]
    archived.full()
    archived.delta(SECOND, ids[0])
    archived.full(THIRD, compressed=True)
    tars = those(archived.directory, "*.tar")
    return {
        "zope_conf": [ZOPE_CONF],
        "toml": [TOML],
        "variables": [b"export COLLECTIVE_BACKUP_KEEP='3'\nCOLLECTIVE_BACKUP_GZIP=\"\\n\"\n"],
        "settings": [b"keep=3", b"keep_within=4w", b"minimum_free=20GB", b"rsync_options=-a 'b c'"],
        "moment": [b"2026-03-01-12-30", b"2026-03-01T12:30:00+01:00", b"0x03f1a2b3c4d5e6f7"],
        "storage_lines": [b"catalog 'a b' c\nData x y\n", b"1 a b"],
        "url_of_a_ping": [b"https://user:p%40ss@watch.example:8443/ping/a b?c=d#e\n"],
        "parts_of_a_buildout": [PARTS],
        "stored_configuration": [operated.config_path.read_bytes()],
        "ledger_of_repozo": those(backups, "*.dat"),
        "manifest_of_a_restore_point": [
            re.sub(rb'"stamp": "[^"]+"', b'"stamp": "%s"' % STAMP.encode("ascii"), data)
            for data in those(backups, "2*.json")
        ],
        "digests": [data[:-32] for data in those(backups, "*.blocks")],
        "mark_of_the_owner": those(backups, ".backup.owner"),
        "memory_of_damage": [
            damage._encode(
                Memory(findings={STAMP: DamageFinding(found=NOON, what="a block", inherited=True)})
            )
        ],
        "history_of_runs": those(backups, history.NAME),
        "note_of_mounts": those(operated.config_path.parent, missingdisk.NAME),
        "note_of_samples": [sampling.FORM.encode({"next": 17})],
        "data_file": those(backups, "*.fsz"),
        "data_file_read_at_a_place": those(backups, "*.fsz"),
        "list_of_blobs": those(trees, "checksums") + those(trees, "checksums.added"),
        "notes_in_a_tree": [b"blob set 1\nforeign 3\n", b"2026-03-01-12-00-00\n", b"bushy"],
        "archive": tars,
        "archive_with_a_seal": [data[: -size_of_seal(compressed=False)] for data in tars],
        "compressed_archive": those(archived.directory, "*.tar.gz"),
        "unpacked_archive": tars,
        "filestorage": [site.filestorage.read_bytes()],
        "pickles": [b"\x80\x03cmodule\nname\nq\x01.\x80\x03}q\x02X\x01\0\0\0aK\x01s."],
        "index_of_a_filestorage": those(backups, "*.index"),
        "journal_of_a_restore": [journal.journal_path(site.filestorage).read_bytes()],
        "list_of_a_difference": [b"- 3:17 a\\nb\n12:34 - 0x00/0x01\n"],
    }
