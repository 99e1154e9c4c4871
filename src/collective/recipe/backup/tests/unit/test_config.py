"""From facts and options to a configuration, and to its stored form and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collective.recipe.backup.config import (
    ALTERNATIVE,
    SNAPSHOT,
    STANDARD,
    ZIP,
    dump,
    load,
    surroundings,
)
from collective.recipe.backup.config.resolve import SiteFacts, directory_names, resolve
from collective.recipe.backup.config.storages import words
from collective.recipe.backup.config.surroundings import unusable, unwritable
from collective.recipe.backup.errors import ConfigurationError
from collective.recipe.backup.model import Place, Source
from collective.recipe.backup.options import Options
from collective.recipe.backup.options.parsing import Reading, read

BASE = Path("/srv/site")
VAR = BASE / "var"


def facts(**known):
    return SiteFacts(**{"part": "backup", "base": BASE, "is_zope": True, **known})


def resolved(known=None, /, **options):
    """Return the configuration of *options* that are set so and read without a problem."""
    paths = {"datafs", "blob_storage", "repozo"}
    values = {
        name: Path(value)
        if isinstance(value, str) and (name in paths or "location" in name)
        else value
        for name, value in options.items()
    }
    return resolve(known or facts(), Reading(Options(**values)))


def config(known=None, /, **options):
    return resolved(known, **options).config


def problems(known=None, /, **options):
    with pytest.raises(ConfigurationError) as caught:
        config(known, **options)
    return caught.value.problems


def main(configuration):
    return configuration.sources[-1]


def test_without_directories_there_are_only_repositories():
    configuration = config(location="none", repository=("/mnt/far",))
    assert configuration.destinations == {}
    assert str(configuration.options.location) == "none"


# where things are


def test_without_any_option_the_site_is_backed_up_to_its_var():
    configuration = config()
    assert configuration.part == "backup"
    assert configuration.sources == (
        Source(
            name="1",
            filestorage=VAR / "filestorage" / "Data.fs",
            blobstorage=VAR / "blobstorage",
        ),
    )
    assert configuration.destinations == {
        STANDARD: (
            Place(
                name="1",
                filestorage=VAR / "backups",
                blobstorage=VAR / "blobstoragebackups",
            ),
        ),
        SNAPSHOT: (
            Place(
                name="1",
                filestorage=VAR / "snapshotbackups",
                blobstorage=VAR / "blobstoragesnapshots",
            ),
        ),
        ZIP: (
            Place(
                name="1",
                filestorage=VAR / "zipbackups",
                blobstorage=VAR / "blobstoragezips",
            ),
        ),
    }


def test_the_directories_of_another_part_are_named_after_it():
    assert directory_names("P") == {
        "location": "Ps",
        "blobbackuplocation": "P-blobstorages",
        "snapshotlocation": "P-snapshots",
        "blobsnapshotlocation": "P-blobstoragesnapshots",
        "ziplocation": "P-zips",
        "blobziplocation": "P-blobstoragezips",
    }
    [place] = config(facts(part="P")).destinations[STANDARD]
    assert (place.filestorage, place.blobstorage) == (VAR / "Ps", VAR / "P-blobstorages")


def test_var_is_where_the_site_says():
    configuration = config(facts(var=Path("/data/var")))
    assert main(configuration).filestorage == Path("/data/var/filestorage/Data.fs")
    assert main(configuration).blobstorage == Path("/data/var/blobstorage")
    assert configuration.options.location == Path("/data/var/backups")


def test_a_relative_var_starts_at_the_base_directory():
    assert config(facts(var=Path("zeo/var"))).options.location == BASE / "zeo/var/backups"


def test_the_storages_are_where_the_site_says():
    configuration = config(facts(datafs=Path("/zeo/Site.fs"), blob_storage=Path("/zeo/blobs")))
    assert main(configuration) == Source(
        name="1", filestorage=Path("/zeo/Site.fs"), blobstorage=Path("/zeo/blobs")
    )


def test_an_option_wins_over_what_the_site_says():
    known = facts(datafs=Path("/zeo/Site.fs"), blob_storage=Path("/zeo/blobs"))
    configuration = config(known, datafs="/my/Data.fs", blob_storage="/my/blobs")
    assert main(configuration) == Source(
        name="1", filestorage=Path("/my/Data.fs"), blobstorage=Path("/my/blobs")
    )


def test_relative_storages_start_at_the_base_directory_not_at_the_prefix():
    configuration = config(datafs="zeo/Data.fs", blob_storage="zeo/blobs", locationprefix="/mnt")
    assert main(configuration).filestorage == BASE / "zeo/Data.fs"
    assert main(configuration).blobstorage == BASE / "zeo/blobs"


def test_relative_locations_start_at_the_prefix():
    configuration = config(locationprefix="/mnt/disk", location="here", ziplocation="/elsewhere")
    assert configuration.options.location == Path("/mnt/disk/here")
    assert configuration.options.snapshotlocation == Path("/mnt/disk/snapshotbackups")
    assert configuration.options.ziplocation == Path("/elsewhere")


def test_a_relative_prefix_starts_at_the_base_directory():
    assert config(locationprefix="disk").options.location == BASE / "disk/backups"


def test_a_relative_repozo_starts_at_the_base_directory():
    assert config(repozo="bin/repozo").options.repozo == BASE / "bin/repozo"


@pytest.mark.parametrize("name", ["metrics_file", "report_file"])
def test_a_relative_file_that_tells_of_the_backups_starts_at_the_base_directory(name):
    assert getattr(config(**{name: "var/site"}).options, name) == BASE / "var/site"


@pytest.mark.parametrize("spelled", ["/zeo/blobs/", "/zeo/./blobs", "/zeo/x/../blobs"])
def test_a_storage_has_its_plain_name_however_it_is_spelled(spelled):
    assert main(config(blob_storage=spelled)).blobstorage == Path("/zeo/blobs")


def test_two_dots_after_a_link_lead_to_where_the_link_leads(tmp_path):
    (tmp_path / "far" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "inner")
    configuration = config(blob_storage=f"{tmp_path}/link/../blobs")
    assert main(configuration).blobstorage == tmp_path / "far" / "blobs"


# blobs or not


def test_a_site_without_zope_parts_has_no_blobstorage():
    [problem] = problems(facts(is_zope=False))
    assert problem.startswith("backup_blobs is true, but there is no blobstorage")


def test_without_zope_parts_a_blobstorage_can_be_named():
    assert main(config(facts(is_zope=False), blob_storage="/blobs")).blobstorage == Path("/blobs")


@pytest.mark.parametrize("is_zope", [True, False])
def test_blobs_that_are_not_backed_up_have_no_place(is_zope):
    configuration = config(
        facts(is_zope=is_zope),
        backup_blobs=False,
        alternative_restore_source=("Data /a /b",) if is_zope else ("Data /a",),
    )
    places = [place for places in configuration.destinations.values() for place in places]
    assert len(places) == 4
    assert {item.blobstorage for item in (*configuration.sources, *places)} == {None}


# several storages


def test_additional_storages_come_first_in_their_order_and_the_main_one_last():
    configuration = config(
        datafs="/zeo/Data.fs",
        additional_filestorages=("catalog", "users zeo/u.fs", "files '/a b/f.fs' /a/blobs/"),
    )
    assert configuration.sources == (
        Source(name="catalog", filestorage=Path("/zeo/catalog.fs")),
        Source(name="users", filestorage=BASE / "zeo/u.fs"),
        Source(name="files", filestorage=Path("/a b/f.fs"), blobstorage=Path("/a/blobs")),
        Source(name="1", filestorage=Path("/zeo/Data.fs"), blobstorage=VAR / "blobstorage"),
    )


def test_the_places_of_an_additional_storage_have_its_name_added():
    configuration = config(
        facts(part="P"), additional_filestorages=("catalog", "files f.fs blobs"), location="/mnt/x"
    )
    assert configuration.destinations[STANDARD] == (
        Place(name="catalog", filestorage=Path("/mnt/x_catalog")),
        Place(
            name="files",
            filestorage=Path("/mnt/x_files"),
            blobstorage=VAR / "P-blobstorages_files",
        ),
        Place(name="1", filestorage=Path("/mnt/x"), blobstorage=VAR / "P-blobstorages"),
    )
    assert [place.filestorage.name for place in configuration.destinations[ZIP]] == [
        "P-zips_catalog",
        "P-zips_files",
        "P-zips",
    ]


def test_the_same_additional_storage_twice_is_one_and_warns():
    configuration, warnings = resolved(additional_filestorages=("catalog", "catalog"))
    assert [source.name for source in configuration.sources] == ["catalog", "1"]
    assert warnings == ("additional_filestorages: catalog is there twice",)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Data", "Data is the name of the main storage"),
        ("1 x.fs", "1 is the name of the main storage"),
        ("a/b", "'a/b' cannot be part of a file name"),
        ("a x.fs blobs more", "a line is NAME [DATAFS [BLOBDIR]]"),
        ("a ''", "a line is NAME [DATAFS [BLOBDIR]]"),
        ("a 'x.fs", "No closing quotation"),
    ],
)
def test_an_additional_storage_that_cannot_be_is_a_problem(line, said):
    [problem] = problems(additional_filestorages=(line,))
    assert problem.startswith(f"additional_filestorages: {said}")
    assert repr(line) in problem


def test_two_storages_cannot_have_one_name():
    [problem] = problems(additional_filestorages=("a x.fs", "a y.fs"))
    assert problem == "additional_filestorages: a is there twice, with different paths"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a  b\tc", ["a", "b", "c"]),
        ("a 'b c' \"d e\"", ["a", "b c", "d e"]),
        (r"a b\c \d", ["a", r"b\c", r"\d"]),
        ("a b#c $(x) d;e ü", ["a", "b#c", "$(x)", "d;e", "ü"]),
    ],
)
def test_words_of_a_line(line, expected):
    assert words(line) == expected


# where else to restore from


@pytest.mark.parametrize("key", ["Data", "1"])
def test_an_alternative_source_is_a_place_to_restore_from(key):
    configuration = config(alternative_restore_source=(f"{key} /other/backups other/blobs",))
    assert configuration.destinations[ALTERNATIVE] == (
        Place(name="1", filestorage=Path("/other/backups"), blobstorage=BASE / "other" / "blobs"),
    )


def test_without_an_alternative_source_there_is_no_such_destination():
    assert ALTERNATIVE not in config().destinations


def test_alternative_sources_of_several_storages_are_in_the_order_of_the_storages():
    configuration = config(
        additional_filestorages=("catalog", "files f.fs blobs"),
        alternative_restore_source=("Data /d /db", "files /f /fb", "catalog /c"),
    )
    assert [
        (place.name, str(place.filestorage), place.blobstorage)
        for place in configuration.destinations[ALTERNATIVE]
    ] == [("catalog", "/c", None), ("files", "/f", Path("/fb")), ("1", "/d", Path("/db"))]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("Data /a /b", "Data /c /d"), "this storage has a line already: 'Data /c /d'"),
        (("Data /a /b", "1 /a /b"), "this storage has a line already: '1 /a /b'"),
        (("Data /a /b", "foo /c /d"), "foo is no storage of this site"),
        (("data /a /b",), "data is no storage of this site"),
        (("Data",), "the directory of the filestorage backups is missing: 'Data'"),
        (("Data ''",), "the directory of the filestorage backups is missing"),
        (("Data /a",), "the directory of the blob backups is missing: 'Data /a'"),
        (("Data /a /b /c",), "a line is NAME FSDIR [BLOBDIR]"),
        (("Data '/a",), "No closing quotation"),
    ],
)
def test_an_alternative_source_that_cannot_be_is_a_problem(lines, said):
    [problem] = problems(alternative_restore_source=lines)
    assert problem.startswith(f"alternative_restore_source: {said}")


def test_with_only_blobs_a_storage_without_any_is_left_out():
    lines = ("catalog", "other /srv/other.fs /srv/other-blobs")
    configuration = config(only_blobs=True, additional_filestorages=lines)

    assert [source.name for source in configuration.sources] == ["other", "1"]
    for places in configuration.destinations.values():
        assert [place.name for place in places] == ["other", "1"]


def test_blobs_are_superfluous_in_an_alternative_source_of_a_site_without_blobs():
    [problem] = problems(
        facts(is_zope=False), backup_blobs=False, alternative_restore_source=("Data /a /b",)
    )
    assert "a directory of blob backups is given, but the storage has no blobs" in problem


def test_blobs_are_needed_in_an_alternative_source_even_if_they_are_not_backed_up():
    """The older releases went by the blobstorage, also by a derived one."""
    [problem] = problems(backup_blobs=False, alternative_restore_source=("Data /a",))
    assert "the directory of the blob backups is missing" in problem


def test_each_storage_needs_an_alternative_source():
    [problem] = problems(
        additional_filestorages=("catalog", "users"),
        alternative_restore_source=("users /u",),
    )
    assert problem == "alternative_restore_source: there is no line for catalog, Data"


# places that must not coincide

LOCATIONS = list(directory_names("backup"))


@pytest.mark.parametrize("other", LOCATIONS[1:])
def test_no_two_locations_may_be_the_same(other):
    [problem] = problems(**{"location": "/mnt/b", other: "/mnt/x/../b/"})
    assert problem == f"location (/mnt/b) and {other} (/mnt/b) are the same directory"


def test_a_location_may_not_be_the_default_of_another():
    [problem] = problems(location="zipbackups")
    assert problem.endswith("are the same directory")


def test_a_location_may_not_be_another_one_by_way_of_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    [problem] = problems(location=f"{tmp_path}/real/b", snapshotlocation=f"{tmp_path}/link/b")
    assert problem.endswith("are the same directory")


def test_locations_of_different_storages_may_not_be_the_same():
    [problem] = problems(
        additional_filestorages=("catalog",), location="/a", snapshotlocation="/a_catalog"
    )
    assert problem == (
        "location of catalog (/a_catalog) and snapshotlocation (/a_catalog) are the same directory"
    )


def test_an_empty_location_is_never_the_var_directory_itself():
    assert resolve(facts(), read({"location": ""})).config.options.location == VAR / "backups"


@pytest.mark.parametrize("location", [".", "/srv/site/var", "/srv", "/"])
def test_a_location_may_not_hold_the_site(location):
    found = problems(location=location)
    assert any(" holds datafs (/srv/site/var/filestorage/Data.fs)" in each for each in found)
    assert any(" holds blob_storage (/srv/site/var/blobstorage)" in each for each in found)


def test_a_location_may_not_be_the_directory_of_the_filestorage():
    [problem] = problems(snapshotlocation=str(VAR / "filestorage"))
    assert problem.startswith(f"snapshotlocation ({VAR}/filestorage) holds datafs")


def test_a_location_may_lie_beside_the_filestorage():
    assert config(location=str(VAR / "filestorage" / "backups"))


@pytest.mark.parametrize("location", ["blobstorage", "blobstorage/backups"])
def test_a_location_may_not_lie_in_the_blobstorage(location):
    [problem] = problems(blobbackuplocation=location)
    assert problem.startswith(f"blobbackuplocation ({VAR}/{location}) lies in blob_storage")


def test_a_location_may_not_lie_in_the_blobstorage_by_way_of_a_link(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "link").symlink_to("blobs")
    [problem] = problems(blob_storage=f"{tmp_path}/blobs", location=f"{tmp_path}/link/b")
    assert "lies in blob_storage" in problem


def test_a_location_may_not_lie_where_buildout_empties_directories():
    [problem] = problems(facts(parts=BASE / "parts"), location=str(BASE / "parts/backup/b"))
    assert problem.endswith("lies in the parts directory (/srv/site/parts), which buildout empties")


@pytest.mark.parametrize("location", ["backups", "none"])
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("inner var/blobstorage/r", "repository inner ({VAR}/blobstorage/r) lies in blob_storage "),
        ("file://{VAR}/blob%73torage", "repository ({VAR}/blobstorage) lies in blob_storage "),
        ("FILE://{VAR}/blobstorage/r", "repository ({VAR}/blobstorage/r) lies in blob_storage "),
        ("var/other/r", "repository ({VAR}/other/r) lies in blob_storage of catalog "),
        ("var/filestorage", "repository ({VAR}/filestorage) holds datafs "),
        ("var", "repository ({VAR}) holds blob_storage "),
        ("parts/r", "repository (/srv/site/parts/r) lies in the parts directory "),
    ],
)
def test_a_repository_may_not_lie_in_the_live_site_nor_hold_it(location, line, said):
    """A restore moves the blobstorage away, and --let-go removes it then."""
    found = problems(
        facts(parts=BASE / "parts"),
        location=location,
        additional_filestorages=(f"catalog {VAR}/filestorage/catalog.fs {VAR}/other",),
        repository=(line.format(VAR=VAR),),
    )
    assert any(each.startswith(said.format(VAR=VAR)) for each in found)


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_repository_may_not_lie_in_the_live_site_by_way_of_a_link(tmp_path, scheme):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "link").symlink_to("blobs")
    [problem] = problems(
        blob_storage=f"{tmp_path}/blobs", repository=(f"{scheme}{tmp_path}/link/r",)
    )
    assert problem.startswith(f"repository ({tmp_path}/link/r) lies in blob_storage ")


def test_a_repository_needs_a_directory_of_its_own():
    [problem] = problems(repository=("var/backups",))
    assert problem.endswith(f"repository ({VAR}/backups) are the same directory")
    [problem] = problems(repository=("var/backups/r",))
    assert problem.startswith(f"repository ({VAR}/backups/r) lies in location ({VAR}/backups)")
    [problem] = problems(repository=("/mnt/r",), location="/mnt/r/backups")
    assert problem.startswith("location (/mnt/r/backups) lies in repository (/mnt/r)")
    [problem] = problems(repository=("a /mnt/r", "b file:///mnt/r/b"))
    assert problem.startswith("repository b (/mnt/r/b) lies in repository a (/mnt/r)")
    [problem] = problems(repository=("a /mnt/r", "b file:///mnt/r"))
    assert problem.endswith("are the same directory")


def test_a_repository_elsewhere_is_no_place_of_this_machine():
    assert config(repository=("a s3://bucket/srv/site/var/blobstorage", "b var/repository"))


def test_the_filestorage_may_not_lie_in_the_blobstorage():
    [problem] = problems(datafs=str(VAR / "blobstorage/Data.fs"))
    assert problem.startswith("datafs ")
    assert "lies in blob_storage" in problem


def test_an_alternative_source_may_not_lie_in_the_blobstorage():
    [problem] = problems(alternative_restore_source=("Data /a var/blobstorage/old",))
    assert problem.startswith("alternative_restore_source (/srv/site/var/blobstorage/old) lies in")


def test_storages_may_not_be_the_same():
    found = problems(
        datafs="/zeo/Data.fs",
        blob_storage="/zeo/blobs",
        additional_filestorages=("a /zeo/Data.fs /zeo/blobs",),
    )
    assert found == (
        "datafs of a (/zeo/Data.fs) and datafs (/zeo/Data.fs) are the same filestorage",
        "blob_storage of a (/zeo/blobs) and blob_storage (/zeo/blobs) are the same blobstorage",
    )


@pytest.mark.parametrize("name", ["metrics_file", "report_file"])
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("{VAR}/filestorage/Data.fs", "and datafs ({VAR}/filestorage/Data.fs) are the same file"),
        ("{VAR}/blobstorage/x", "lies in blob_storage ({VAR}/blobstorage), which holds blobs"),
    ],
)
def test_a_file_that_tells_of_the_backups_takes_the_place_of_nothing_live(name, path, said):
    path, said = path.format(VAR=VAR), said.format(VAR=VAR)
    [problem] = problems(**{name: Path(path)})
    assert problem.startswith(f"{name} ({path}) {said}")


def test_metrics_and_the_report_need_a_file_each(tmp_path):
    (tmp_path / "link").symlink_to("page")
    [problem] = problems(metrics_file=tmp_path / "link", report_file=tmp_path / "page")
    assert problem.endswith("are the same file")


def test_all_problems_are_reported_together():
    reading = Reading(
        Options(location=Path("x"), ziplocation=Path("x")), ("keep must be a number",)
    )
    with pytest.raises(ConfigurationError) as caught:
        resolve(facts(is_zope=False), reading)
    assert caught.value.exit_code == 2
    assert str(caught.value).splitlines() == [
        "part backup cannot be used as it is configured",
        "  - keep must be a number",
        "  - backup_blobs is true, but there is no blobstorage: "
        "set blob_storage, or backup_blobs = false",
        f"  - location ({VAR}/x) and ziplocation ({VAR}/x) are the same directory",
    ]


def test_warnings_of_the_reading_are_passed_on():
    assert resolve(facts(), Reading(Options(), (), ("old name",))).warnings == ("old name",)


# surroundings


@pytest.mark.parametrize("python", ["/v/bin/python", "/v/it's/python", "/" + 252 * "x", "/\xa0/p"])
@pytest.mark.parametrize("directory", ["/srv/my site", "/srv/$(touch x)", "/srv/ü", '/srv/"\\'])
def test_usable_paths_are_no_problem_for_the_scripts(directory, python):
    assert list(unusable("backup", [Path(directory)], python)) == []


@pytest.mark.parametrize(
    ("directory", "said"),
    [
        ("/srv/a\nb", r"buildout cannot cope with the line break in its directory /srv/a\nb"),
        ("/srv/a\rb", r"buildout cannot cope with the line break in its directory /srv/a\rb"),
        ("/srv/\udcff", r"buildout cannot note its directory /srv/\udcff, since that is no text"),
        ("/srv/$HOME", "the $ in the directory /srv/$HOME would be taken for a variable"),
    ],
)
def test_a_directory_that_buildout_cannot_cope_with_is_named_once(directory, said, monkeypatch):
    monkeypatch.setenv("HOME", "/root")
    [problem] = unusable("backup", [Path(directory), Path(directory, "bin")], "/v/bin/python")
    assert problem.startswith(said)


def test_a_script_in_another_encoding_than_python_reads_is_refused(monkeypatch):
    monkeypatch.setattr(surroundings.locale, "getpreferredencoding", lambda _do: "ISO-8859-1")
    [problem] = unusable("backup", [Path("/srv/ü")], "/v/bin/python")
    assert "ISO-8859-1" in problem
    assert list(unusable("backup", [Path("/srv/u")], "/v/bin/python")) == []


@pytest.mark.parametrize("python", ["/my env/bin/python", "/a\tb/python", "/" + 253 * "x"])
def test_a_python_that_no_script_can_start_with_is_refused(python):
    [problem] = unusable("backup", [BASE], python)
    assert problem.startswith("the path of this Python is too long or holds white space")


@pytest.mark.parametrize("part", ["a/b", "..", "."])
def test_a_part_whose_name_is_a_path_is_refused(part):
    [problem] = unusable(part, [BASE], "/v/bin/python")
    assert problem == f"{part} is no name for a part, since its scripts are named after it"


def test_a_directory_that_cannot_be_written_to_is_only_warned_of(tmp_path, monkeypatch):
    # not by its mode: root may write everywhere
    monkeypatch.setattr(surroundings.os, "access", lambda path, _mode: path != tmp_path)
    configuration = config(location=f"{tmp_path}/a/b", backup_blobs=False, snapshotlocation="/tmp")
    [warning] = unwritable(configuration)
    assert warning.startswith(f"backups could not be written to {tmp_path}/a/b now: {tmp_path} is")


def test_a_file_in_the_place_of_a_directory_is_warned_of(tmp_path):
    (tmp_path / "file").touch()
    configuration = config(
        locationprefix=str(tmp_path), location="file/backups", blobsnapshotlocation="file"
    )
    assert [warning.split(": ")[1] for warning in unwritable(configuration)] == [
        f"{tmp_path}/file is not a directory that we may write to"
    ] * 2
    assert sorted(tmp_path.iterdir()) == [tmp_path / "file"]


# the stored form

PATHS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0/")
    | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF),
    min_size=1,
).map(lambda name: Path("/") / name)


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(dump(config()))
    return path


@pytest.mark.slow
@given(path=PATHS, text=st.text())
def test_a_configuration_survives_being_stored(path, text, tmp_path_factory):
    known = config(
        additional_filestorages=("catalog",),
        alternative_restore_source=("catalog /c", "Data /d /db"),
        pre_command="mount /mnt\nfalse",
        rsync_options=("--exclude", "a b"),
        keep_within=timedelta(days=2),
        keep=7,
        full=True,
    )
    known = replace(
        known,
        sources=(replace(known.sources[0], filestorage=path), *known.sources[1:]),
        options=replace(known.options, location=path, post_command=text),
    )
    file = tmp_path_factory.getbasetemp() / "config.json"
    file.write_bytes(dump(known))
    assert load(file) == known


def test_the_stored_form_is_ascii_whatever_a_path_holds():
    raw = os.fsdecode(b"/srv/\xff\xc3\xbc\n")
    assert json.loads(dump(config(location=raw)).decode("ascii"))["options"]["location"] == raw


def test_a_missing_configuration_says_how_to_get_it(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path / "config.json")
    assert caught.value.where == str(tmp_path / "config.json")
    assert "No such file" in caught.value.what
    assert caught.value.hint == "run bin/buildout, which writes it"


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-10],
        lambda _data: b"",
        lambda _data: b"\xff",
        lambda _data: b"[]",
        lambda _data: b"null",
        lambda _data: b"{}",
        lambda data: data.replace(b'"keep": 2', b'"keep": "2"'),
        lambda data: data.replace(b'"keep": 2', b'"keep": true'),
        lambda data: data.replace(b'"full": false', b'"fuller": false'),
        lambda data: data.replace(b'"part": "backup"', b'"part": 3'),
        lambda data: data.replace(b'"name": "1"', b'"name": "2"', 1),
        lambda data: data.replace(b'"filestorage"', b'"file"', 1),
        lambda data: data.replace(b'"sources": [', b'"sources": [], "x": [', 1),
        lambda data: data.replace(b'"blobstorage": "', b'"blobstorage": 1, "x": "', 1),
    ],
)
def test_a_damaged_configuration_is_refused(stored, damage):
    data = stored.read_bytes()
    assert damage(data) != data
    stored.write_bytes(damage(data))
    with pytest.raises(ConfigurationError) as caught:
        load(stored)
    assert "damaged" in caught.value.what
    assert "run bin/buildout" in caught.value.hint


def test_a_configuration_of_a_later_version_is_refused(stored):
    stored.write_bytes(stored.read_bytes().replace(b'"format": 1', b'"format": 2'))
    with pytest.raises(ConfigurationError, match="its format is 2, this release knows 1") as caught:
        load(stored)
    assert "damaged" not in caught.value.what


def test_an_option_that_an_earlier_version_did_not_store_has_its_default(stored):
    stored.write_bytes(stored.read_bytes().replace(b'    "keep": 2,\n', b""))
    assert load(stored) == config()


def test_loading_a_configuration_needs_neither_zodb_nor_buildout(stored):
    code = (
        "import sys; from pathlib import Path; import collective.recipe.backup.config as config;"
        "config.load(Path(sys.argv[1]));"
        "print(sorted({'ZODB', 'BTrees', 'zc.buildout', 'pkg_resources'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(stored)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
