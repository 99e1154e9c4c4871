from __future__ import annotations

from pathlib import Path

import pytest

from collective.recipe.backup.blobs.archives.archivenames import (
    Archive,
    chain_of,
    find_archives,
    find_chains,
    make_room,
    planned,
    remove,
)
from collective.recipe.backup.errors import IntegrityError
from collective.recipe.backup.files import Files
from collective.recipe.backup.tests.archived import FIRST, FOURTH, SECOND, THIRD
from collective.recipe.backup.tests.blobtrees import ODD_NAMES


def touched(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).write_bytes(b"x")


def names(archives: list[Archive]) -> list[str]:
    return [archive.name for archive in archives]


class TestFind:
    def test_a_directory_that_is_not_there_holds_none(self, tmp_path):
        assert find_archives(tmp_path / "none", "b") == []

    def test_numbers_come_before_stamps_and_0_is_their_newest(self, tmp_path):
        touched(
            tmp_path, f"b.{SECOND}.tar", "b.0.tar", "b.10.tar.gz", "b.2.tar", f"b.{FIRST}.tar.gz"
        )
        touched(tmp_path, f"b.{SECOND}.delta.tar")
        assert names(find_archives(tmp_path, "b")) == [
            "b.10.tar.gz",
            "b.2.tar",
            "b.0.tar",
            f"b.{FIRST}.tar.gz",
            f"b.{SECOND}.tar",
            f"b.{SECOND}.delta.tar",
        ]

    @pytest.mark.parametrize("delta", [False, True])
    @pytest.mark.parametrize("compressed", [False, True])
    def test_a_planned_archive_is_found_once_it_is_there(self, tmp_path, delta, compressed):
        archive = planned(tmp_path, "b.c", FIRST, delta=delta, compressed=compressed)
        touched(tmp_path, archive.name)
        assert find_archives(tmp_path, "b.c") == [archive]

    def test_a_number_that_was_planned_is_found(self, tmp_path):
        archive = planned(tmp_path, "b", 12, compressed=True)
        assert archive.name == "b.12.tar.gz"
        touched(tmp_path, archive.name)
        assert find_archives(tmp_path, "b") == [archive]

    @pytest.mark.parametrize("name", ["b.c", "b.", ".*", "b\nc", "(", "b.delta.c", *ODD_NAMES])
    def test_any_name_matches_itself_and_no_other(self, tmp_path, name):
        others = {name, "b", "bXc", "b.c.d", "x"}
        touched(tmp_path, *(f"{each}.{FIRST}.tar" for each in others))
        touched(tmp_path, *(f"{each}.0.tar.gz" for each in others))
        assert names(find_archives(tmp_path, name)) == [f"{name}.0.tar.gz", f"{name}.{FIRST}.tar"]

    @pytest.mark.parametrize(
        "name",
        [
            f"b.{FIRST}.tar.0a1b2c3d.partial",
            f"b.{FIRST}.tar.bz2",
            f"b.{FIRST}.tar\n",
            f"b.{FIRST}",
            f"b.{FIRST}.delta",
            f"b.{FIRST}.snar",
            f"b.{FIRST}.delta.delta.tar",
            "b.2026-13-01-12-00-00.tar",
            "b.00.tar",
            "b.0.delta.tar",
            "b.-1.tar",
            "b.\u0663.tar",
            f"xb.{FIRST}.tar",
            f"b{FIRST}.tar",
            "b.tar",
        ],
    )
    def test_files_that_are_no_archives_are_not_found(self, tmp_path, name):
        touched(tmp_path, name)
        assert find_archives(tmp_path, "b") == []

    def test_a_directory_is_none_and_a_link_to_an_archive_is_one(self, tmp_path):
        (tmp_path / f"b.{FIRST}.tar").mkdir()
        touched(tmp_path, "elsewhere")
        (tmp_path / f"b.{SECOND}.tar").symlink_to("elsewhere")
        (tmp_path / f"b.{THIRD}.tar").symlink_to("nowhere")
        assert names(find_archives(tmp_path, "b")) == [f"b.{SECOND}.tar"]

    def test_delta_in_the_name_of_a_directory_is_no_delta(self, tmp_path):
        """Release 6.0 took every archive in such a directory for one."""
        directory = tmp_path / "x.delta.d"
        directory.mkdir()
        touched(directory, f"b.delta.c.{FIRST}.tar")
        [found] = find_archives(directory, "b.delta.c")
        assert not found.delta

    def test_each_knows_its_snar(self, tmp_path):
        touched(tmp_path, f"b.{FIRST}.tar", f"b.{FIRST}.snar", f"b.{SECOND}.delta.tar")
        touched(tmp_path, f"b.{THIRD}.tar", f"b.{FOURTH}.delta.tar", "b.0.tar", f"c.{THIRD}.snar")
        own = tmp_path / f"b.{FIRST}.snar"
        assert [each.snar for each in find_archives(tmp_path, "b")] == [None, own, own, None, own]


class TestChains:
    @pytest.fixture
    def found(self, tmp_path):
        touched(tmp_path, f"b.{SECOND}.tar", f"b.{SECOND}.delta.tar", f"b.{THIRD}.delta.tar.gz")
        touched(tmp_path, f"b.{FOURTH}.tar.gz", "b.0.tar", f"b.{FIRST}.delta.tar")
        return find_archives(tmp_path, "b")

    def test_a_chain_is_a_full_archive_and_what_builds_on_it(self, found):
        assert [names(chain) for chain in find_chains(found)] == [
            ["b.0.tar"],
            [f"b.{FIRST}.delta.tar"],
            [f"b.{SECOND}.tar", f"b.{SECOND}.delta.tar", f"b.{THIRD}.delta.tar.gz"],
            [f"b.{FOURTH}.tar.gz"],
        ]

    def test_nothing_newer_is_needed(self, found):
        assert names(chain_of(found, found[0])) == ["b.0.tar"]
        assert names(chain_of(found, found[2])) == [f"b.{SECOND}.tar"]
        assert names(chain_of(found, found[3])) == [f"b.{SECOND}.tar", f"b.{SECOND}.delta.tar"]

    def test_what_has_no_full_archive_before_it_is_refused(self, found):
        with pytest.raises(IntegrityError, match=f"builds on is missing: .*b.{FIRST}.delta.tar"):
            chain_of(found, found[1])

    def test_a_chain_of_an_archive_that_is_gone_is_refused(self, found, tmp_path):
        with pytest.raises(IntegrityError, match="archive is missing"):
            chain_of(found, planned(tmp_path, "b", FIRST))


class TestRemove:
    def test_the_snar_goes_with_the_full_archive_only(self, tmp_path):
        touched(tmp_path, f"b.{FIRST}.tar", f"b.{FIRST}.snar", f"b.{SECOND}.delta.tar", "note")
        full, delta = find_archives(tmp_path, "b")
        remove(delta, Files())
        assert find_archives(tmp_path, "b") == [full]
        assert full.snar.exists()
        remove(full, Files())
        assert [path.name for path in tmp_path.iterdir()] == ["note"]
        remove(full, Files())


class TestMakeRoom:
    def listed(self, directory):
        return {path.name: path.read_text() for path in directory.iterdir()}

    def written(self, directory, *names):
        for name in names:
            (directory / name).write_text(name)

    def test_each_gets_the_next_number(self, tmp_path):
        self.written(tmp_path, "b.0.tar", "b.1.tar.gz", "b.2.tar", f"b.{FIRST}.tar")
        make_room(find_archives(tmp_path, "b"), Files())
        assert self.listed(tmp_path) == {
            "b.1.tar": "b.0.tar",
            "b.2.tar.gz": "b.1.tar.gz",
            "b.3.tar": "b.2.tar",
            f"b.{FIRST}.tar": f"b.{FIRST}.tar",
        }

    def test_a_gap_is_room(self, tmp_path):
        self.written(tmp_path, "b.0.tar", "b.2.tar")
        make_room(find_archives(tmp_path, "b"), Files())
        assert self.listed(tmp_path) == {"b.1.tar": "b.0.tar", "b.2.tar": "b.2.tar"}
        make_room(find_archives(tmp_path, "b"), Files())
        assert self.listed(tmp_path) == {"b.1.tar": "b.0.tar", "b.2.tar": "b.2.tar"}
