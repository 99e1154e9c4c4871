"""``repozo = PATH``: the scripts call that program for the filestorage part."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from collective.recipe.backup.destinations import Depth
from collective.recipe.backup.errors import CommandFailed, IntegrityError, NoRestorePoint
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """ZODB's own repozo, which notes its arguments first."""
    path = tmp_path / "a repozo"
    path.write_text(
        f"#!{sys.executable}\n"
        "import sys\n"
        f"open({str(tmp_path / 'calls')!r}, 'a').write(repr(sys.argv[1:]) + '\\n')\n"
        "from ZODB.scripts.repozo import main\n"
        "main()\n"
    )
    path.chmod(0o755)
    return path


def calls(program: Path) -> list[list[str]]:
    lines = (program.parent / "calls").read_text().splitlines()
    return [eval(line) for line in lines]


def test_a_program_of_the_user_backs_up_and_restores(site: Site, program: Path) -> None:
    operated = Operated(site, repozo=program)
    place, source = str(operated.place().filestorage), str(site.filestorage)
    site.commit({"a": 1}, {"b": b"blob"})
    operated.backup(full=True)
    operated.restore()
    time.sleep(1)  # repozo names its files by its own clock, in seconds
    site.commit({"a": 2}, {"c": b"other"})
    contents = site.contents()
    operated.backup()

    assert [point.whole for point in operated.points()] == [True, True]
    assert list(operated.destination().verify(Depth.CHECKSUMS)) == []
    site.lose()
    operated.restore()

    assert site.contents() == contents
    stamps = [point.stamp for point in operated.points()]
    staged = f"{source}.restoring"
    assert calls(program) == [
        ["--backup", "-f", source, "-r", place, "-F", "--gzip"],
        ["--recover", "-o", staged, "-r", place, "-D", stamps[0]],
        ["--backup", "-f", source, "-r", place, "--quick", "--gzip"],
        ["--recover", "-o", staged, "-r", place, "-D", stamps[1]],
    ]


def test_a_program_of_the_user_gets_the_options_of_the_part(site: Site, program: Path) -> None:
    operated = Operated(site, repozo=program, gzip=False, quick=False, debug=True, blobs=False)
    operated.backup()

    [call] = calls(program)
    assert call[5:] == ["--verbose"]
    assert [path.suffix for path in operated.place().filestorage.glob("*fs")] == [".fs"]


def test_a_backup_that_fails_is_a_failure(site: Site, program: Path) -> None:
    program.write_text("#!/bin/sh\nexit 3\n")

    with pytest.raises(CommandFailed, match="exit status 3"):
        Operated(site, repozo=program).backup()


def test_a_program_that_does_nothing_is_a_failure(site: Site, program: Path) -> None:
    program.write_text("#!/bin/sh\nexit 0\n")

    with pytest.raises(IntegrityError, match="no backup"):
        Operated(site, repozo=program).backup()


def test_a_restore_that_writes_something_else_leaves_the_site_as_it_is(
    site: Site, program: Path
) -> None:
    operated = Operated(site, repozo=program)
    operated.backup()
    before = site.filestorage.read_bytes()
    program.write_text('#!/bin/sh\nprintf FS21 > "$3"\n')

    with pytest.raises(IntegrityError):
        operated.restore()

    assert site.filestorage.read_bytes() == before


def test_a_moment_means_the_restore_point_before_it(site: Site, program: Path) -> None:
    operated = Operated(site, repozo=program)
    site.commit({"a": 1})
    contents = site.contents()
    operated.backup()
    [point] = operated.points()
    site.commit({"a": 2})

    with pytest.raises(NoRestorePoint):
        operated.restore(point.moment - timedelta(seconds=1))
    operated.restore(point.moment + timedelta(days=1))

    assert site.contents() == contents
