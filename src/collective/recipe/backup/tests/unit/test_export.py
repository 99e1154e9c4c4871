"""What a restore point holds: listed, and as a tar archive that other programs unpack."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from collective.recipe.backup.cli import main
from collective.recipe.backup.cli.answers import Answers
from collective.recipe.backup.cli.screen import Screen
from collective.recipe.backup.cli.verbs import export
from collective.recipe.backup.config import STANDARD
from collective.recipe.backup.errors import DONE, IntegrityError, UsageError
from collective.recipe.backup.furtherfiles import FileSort, FurtherFile
from collective.recipe.backup.operations.inventory import (
    InventoryItem,
    InventoryOrder,
    inventory,
)
from collective.recipe.backup.operations.tarstream import TarStream
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site, contents_of
from collective.recipe.backup.tests.unit.test_repository_files import SiteWithFiles, looks
from collective.recipe.backup.times import Tid

TARS = [
    ["tar", "--extract", "--file", "-"],
    pytest.param(
        ["bsdtar", "--extract", "--file", "-", "-p"],
        marks=pytest.mark.skipif(not shutil.which("bsdtar"), reason="there is no bsdtar"),
    ),
]


def exported(operated: Operated, when: Tid | None = None, below: str = "") -> bytes:
    data = bytearray()
    order = InventoryOrder(when=when, below=below, filled=True)
    with inventory(operated.run("export"), order) as found:
        stream = TarStream(data.extend)
        for item in found.items:
            stream.add(item)
        stream.finish()
    return bytes(data)


def unpack(data: bytes, directory: Path) -> list[str]:
    """Unpack an archive by Python; return the names in it."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        # Python 3.10 and 3.11 have it from some of their later releases on
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(directory)
        return archive.getnames()


def paths(operated: Operated, below: str = "") -> list[str]:
    order = InventoryOrder(when=None, below=below)
    with inventory(operated.run("list"), order) as found:
        return [os.fsdecode(item.file.path) for item in found.items]


@pytest.mark.parametrize("tar", TARS)
def test_other_programs_unpack_all_of_it(tmp_path, tar):
    operated = SiteWithFiles(tmp_path)
    etc = operated.etc
    (etc / "sub").mkdir()
    (etc / "sub" / "file").write_bytes(b"file")
    (etc / "sub" / "file").chmod(0o640)
    os.utime(etc / "sub" / "file", ns=(1, 1_700_000_000_123_456_789))
    (etc / "link").symlink_to("sub/nowhere")
    os.link(etc / "sub" / "file", etc / "other name")
    (etc / ("long" * 50)).write_bytes(b"long name")
    (etc / "gr\u00fc\u00dfe").write_bytes(b"utf-8")
    (etc / os.fsdecode(b"\xff")).write_bytes(b"not utf-8")
    for name, end in (("sparse", b"end"), ("hole at the end", b""), ("only a hole", b"")):
        with (etc / name).open("wb") as file:
            file.write(b"begin" if name != "only a hole" else b"")
            file.truncate(5 << 20)
            file.seek(5 << 20)
            file.write(end)
    os.utime(etc / "sub", ns=(1, 1_600_000_000_000_000_001))
    operated.backup()

    (tmp_path / "to").mkdir()
    done = subprocess.run(
        tar, input=exported(operated), cwd=tmp_path / "to", capture_output=True, check=True
    )
    # GNU tar does not know how bsdtar and Python mark names that are not UTF-8, and needs not
    assert b"hdrcharset" in done.stderr or not done.stderr
    back = tmp_path / "to" / "files" / str(etc).lstrip("/")
    assert looks(back) == looks(etc)
    assert (back / "other name").samefile(back / "sub" / "file")
    assert (back / "sparse").stat().st_blocks == (etc / "sparse").stat().st_blocks
    data, blobs = tmp_path / "to" / "filestorage" / "Data.fs", tmp_path / "to" / "blobstorage"
    assert contents_of(data, blobs) == operated.site.contents()


@pytest.mark.parametrize(
    "options", [{}, {"archive_blob": True}, {"archive_blob": True, "incremental_blobs": True}]
)
def test_a_directory_of_backups_gives_any_state(tmp_path, options):
    operated = Operated(Site(tmp_path / "site"), **options)
    first = operated.site.commit({"a": 1}, {"b": b"first"})
    expected = operated.site.contents()
    operated.backup()
    operated.site.commit({"a": 2}, {"b": b"second", "c": b"third"})
    operated.backup()
    unpack(exported(operated, first), tmp_path / "first")
    assert sorted(unpack(exported(operated), tmp_path / "last")) == sorted(paths(operated))
    for directory, contents in (("first", expected), ("last", operated.site.contents())):
        to = tmp_path / directory
        assert contents_of(to / "filestorage" / "Data.fs", to / "blobstorage") == contents


def test_a_part_is_listed_and_exported_alone(tmp_path):
    operated = SiteWithFiles(tmp_path)
    for name in ("one", "two"):
        (operated.etc / name).mkdir()
        (operated.etc / name / "file").write_bytes(name.encode())
    operated.backup()
    part = f"files{operated.etc}/two"
    assert paths(operated, part) == [part, f"{part}/file"]
    assert paths(operated, f"{part}/file") == [f"{part}/file"]
    assert paths(operated, "filestorage") == ["filestorage/Data.fs"]
    with tarfile.open(fileobj=io.BytesIO(exported(operated, below=part))) as archive:
        assert archive.getnames() == [part, f"{part}/file"]
    [blob] = [path for path in paths(operated, "blobstorage") if path.endswith(".blob")]
    with tarfile.open(fileobj=io.BytesIO(exported(operated, below=blob))) as archive:
        assert archive.extractfile(blob).read() == b"blob"
    with pytest.raises(UsageError, match="there is no files/nowhere"):
        paths(operated, "files/nowhere")


def test_a_file_that_is_shorter_than_its_list_says_ends_the_export():
    file = FurtherFile(b"files/a", FileSort.FILE, 0o600, 0, 0, 0, size=3)
    with pytest.raises(IntegrityError, match="has 2 bytes, and not 3"):
        TarStream(lambda data: None).add(InventoryItem("1", file, iter([b"ab"])))


@pytest.fixture
def backed_up(tmp_path):
    operated = Operated(Site(tmp_path / "site"))
    operated.site.commit({"a": 1}, {"b": b"blob" * 9})
    operated.backup()
    return operated


def test_the_list_says_mode_size_time_and_path(backed_up, capfd):
    assert main("list", STANDARD, backed_up.config_path, ["--content", "-q"]) == DONE
    log, *_marker, blob = capfd.readouterr().out.splitlines()
    assert log.startswith("-rw-")
    assert log.endswith("  filestorage/Data.fs")
    assert " 36 B " in blob
    assert blob.endswith(".blob")
    assert main("list", STANDARD, backed_up.config_path, ["--content", "--json", "/etc"]) != DONE
    document = json.loads(capfd.readouterr().out)
    assert (document["contents"], "there is no files/etc" in document["error"]["what"]) == (
        [],
        True,
    )
    for asked, hint in (("/etc", "--from NAME names one"), ("nosuch", "or with a slash")):
        assert main("list", STANDARD, backed_up.config_path, ["--content", asked]) == 2
        assert hint in capfd.readouterr().err
    assert main("list", STANDARD, backed_up.config_path, ["--content", "--json"]) == DONE
    found = json.loads(capfd.readouterr().out)["contents"]
    assert [each["path"] for each in found] == paths(backed_up)
    assert found[0]["size"] == backed_up.site.filestorage.stat().st_size
    assert main("list", STANDARD, backed_up.config_path, ["yesterday"]) == UsageError.exit_code


def test_the_archive_goes_to_standard_output_and_words_elsewhere(backed_up, capfdbinary):
    assert main("export", STANDARD, backed_up.config_path, ["--tar", "filestorage"]) == DONE
    with tarfile.open(fileobj=io.BytesIO(capfdbinary.readouterr().out)) as archive:
        assert archive.getnames() == ["filestorage/Data.fs"]
    assert main("export", STANDARD, backed_up.config_path, []) == UsageError.exit_code
    arguments = ["--tar", "1999-01-01"]
    assert main("export", STANDARD, backed_up.config_path, arguments) == 4
    assert capfdbinary.readouterr().out == b""


def test_a_terminal_gets_no_archive(backed_up, monkeypatch, capfd):
    monkeypatch.setattr(Answers, "width", 80)
    assert main("export", STANDARD, backed_up.config_path, ["--tar"]) == UsageError.exit_code
    said = capfd.readouterr()
    assert (said.out, "not written to a terminal" in said.err) == ("", True)


def test_a_reader_who_leaves_early_ends_it_quietly(backed_up):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stream:
        answers = Answers(stream, Screen(sys.stderr), json=False)
        namespace = type("Namespace", (), {"moment": [], "before": None, "local": False})
        assert export.VERB.act(backed_up.run("export"), namespace, answers) == DONE
