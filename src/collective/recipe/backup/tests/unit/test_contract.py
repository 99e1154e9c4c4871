"""Rows of the contract with older releases that no room has to itself; see docs/development."""

from __future__ import annotations

import os
import re
from pathlib import Path

from collective.recipe.backup.tests.faults.test_older_faults import with_options
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.unit.test_exit_codes import Scripts


def test_with_full_every_backup_is_a_full_one(site: Site) -> None:
    scripts = Scripts(site, full=True)
    for number in range(2):
        site.commit({"page": number})
        assert scripts("backup", "-q").returncode == 0
    assert [point.full for point in scripts.operated.points()] == [True, True]


def test_debug_says_each_step_with_the_time_and_quiet_wins(site: Site) -> None:
    scripts = Scripts(site, debug=True)
    said = scripts("backup").stderr
    assert re.search(r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\S* (DEBUG|INFO)", said, re.MULTILINE)
    assert scripts("backup", "--quiet").stderr == ""


def test_hooks_run_where_the_script_was_started(site: Site, tmp_path: Path) -> None:
    Scripts(site, pre_command=f"pwd > '{tmp_path}/where'")("backup")
    assert (tmp_path / "where").read_text() == f"{os.getcwd()}\n"


def test_the_first_copy_may_be_hard_links_to_the_site(site: Site) -> None:
    site.commit({"page": 1}, {"file": b"data"})
    [live] = site.blobstorage.rglob("*.blob")
    for linked in (True, False):
        operated = Operated(site, rsync_hard_links_on_first_copy=linked)
        operated.backup()
        [kept] = operated.place().blobstorage.rglob("*.blob")
        assert kept.samefile(live) is linked
        for directory in (operated.place().blobstorage, operated.place().filestorage):
            os.rename(directory, directory.with_name(f"{directory.name}.{linked}"))


def test_the_directory_of_the_filestorage_is_made(site: Site) -> None:
    site.commit({"page": 1}, {"file": b"data"})
    good = site.contents()
    operated = Operated(site)
    operated.backup()
    site.lose()
    site.filestorage.parent.rmdir()
    with_options(operated).restore()
    assert site.contents() == good
