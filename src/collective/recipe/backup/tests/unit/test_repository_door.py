"""A repository as a user meets it: made, backed up to, restored from, cared for."""

from __future__ import annotations

import io
import json
import random
import re
import shutil

import pytest

from collective.recipe.backup import mounts
from collective.recipe.backup.cli.verbs.repository import ACTIONS_BY_NAME
from collective.recipe.backup.cli.verbs.repositoryactions import ACTIONS, CHECK_STORE
from collective.recipe.backup.errors import (
    DONE,
    ConfigurationError,
    IntegrityError,
    NoRestorePoint,
    StoreUnreachable,
)
from collective.recipe.backup.repository import libraries, slots
from collective.recipe.backup.sitebackup import main
from collective.recipe.backup.tests.samples import Site, contents_of

pytestmark = pytest.mark.usefixtures("leaping")

PASSPHRASE = "correct horse battery"
WRONG = ConfigurationError.exit_code


@pytest.fixture(autouse=True)
def _keys_that_cost_little(command, monkeypatch):
    monkeypatch.setattr(slots, "_ARGON2", {"passes": 1, "memory": 64, "lanes": 1})


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A site in the working directory, whose configuration names a repository that is made."""
    site = Site(tmp_path / "plone")
    site.commit({"page": 1}, {"file": b"data"})
    monkeypatch.chdir(site.directory)
    configure(site, repository=str(tmp_path / "disk"))
    monkeypatch.setenv("SITEBACKUP_PASSPHRASE", PASSPHRASE)
    assert main(["repository", "init", "-q"]) == DONE
    return site


def configure(site, **settings):
    where = {"datafs": "var/filestorage/Data.fs", "blob_storage": "var/blobstorage"}
    lines = [f"{name} = {json.dumps(value)}" for name, value in (where | settings).items()]
    (site.directory / "sitebackup.toml").write_text("\n".join(lines) + "\n")


def told(capfd):
    """Return what was said since the last look."""
    return capfd.readouterr().err


def answer(capfd, *arguments):
    capfd.readouterr()
    assert main([*arguments, "--json"]) == DONE
    return json.loads(capfd.readouterr().out)


def test_a_backup_goes_to_the_directory_and_then_to_the_repository(project, capfd):
    assert main(["backup"]) == DONE
    assert "to repository, " in told(capfd)
    document = answer(capfd, "list")
    assert len(document["storages"][0]["restore_points"]) == 1
    assert len(document["places"]["repository"]["storages"][0]["restore_points"]) == 1
    [storage] = answer(capfd, "list", "--from", "repository")["storages"]
    assert storage["restore_points"][0]["whole"]


def test_a_site_whose_directories_are_lost_is_restored_from_the_repository(project):
    assert main(["backup", "-q"]) == DONE
    contents = project.contents()
    shutil.rmtree(project.directory / "var")
    project.filestorage.parent.mkdir(parents=True)
    assert main(["restore", "-qn", "--from", "repository"]) == DONE
    assert project.contents() == contents


def test_another_machine_needs_only_the_place_the_name_and_the_passphrase(
    project, tmp_path, monkeypatch, capfd
):
    assert main(["backup", "-q"]) == DONE
    new = Site(tmp_path / "new")
    shutil.rmtree(new.directory / "var")
    (new.directory / "var" / "filestorage").mkdir(parents=True)
    configure(new, repository=str(tmp_path / "disk"), site_name="another")
    monkeypatch.chdir(new.directory)
    assert main(["doctor"]) == IntegrityError.exit_code
    said = capfd.readouterr().out
    assert "a restore makes it: sitebackup restore" in said
    assert "repository opens; restore points: 0" in said
    assert main(["restore", "-n", "--from", "repository"]) == NoRestorePoint.exit_code
    assert "no restore points of a site another, but of plone: site_name says" in told(capfd)
    configure(new, repository=str(tmp_path / "disk"), site_name="plone")
    assert main(["restore", "-qn", "--from", "repository"]) == DONE
    assert new.contents() == project.contents()


def test_one_place_alone_can_be_backed_up_to(project, capfd):
    assert main(["backup", "-q", "--to", "repository"]) == DONE
    document = answer(capfd, "list")
    assert document["storages"][0]["restore_points"] == []
    assert len(document["places"]["repository"]["storages"][0]["restore_points"]) == 1


def test_a_repository_that_is_away_stops_no_other_and_the_exit_code_says_so(
    project, tmp_path, capfd
):
    configure(project, repository=f"away {tmp_path / 'nowhere'}\nhere {tmp_path / 'disk'}")
    assert main(["backup"]) == StoreUnreachable.exit_code
    assert "is the disk mounted" in told(capfd)
    [storage] = answer(capfd, "list", "--from", "here")["storages"]
    assert len(storage["restore_points"]) == 1
    [storage] = answer(capfd, "list", "--from", "directory")["storages"]
    assert len(storage["restore_points"]) == 1


def test_two_places_that_fail_are_both_told(project, tmp_path, capfd):
    configure(project, repository=f"one {tmp_path / 'nowhere'}\ntwo '{tmp_path / 'nor here'}'")
    assert main(["backup"]) == StoreUnreachable.exit_code
    said = told(capfd)
    assert str(tmp_path / "nowhere") in said
    assert str(tmp_path / "nor here") in said


def test_verify_rehearse_prune_and_status_take_a_place(project, capfd):
    assert main(["backup", "-q"]) == DONE
    for verb in (["verify", "--depth", "records"], ["rehearse"], ["prune"], ["status"]):
        assert main([*verb, "--from", "repository", "-q"]) == DONE, told(capfd)


def test_what_was_verified_in_one_place_is_not_said_of_another(project, capfd):
    assert main(["backup", "-q"]) == DONE
    assert main(["verify", "--from", "repository", "-q"]) == DONE
    here, there = (answer(capfd, "status", *of) for of in ([], ["--from", "repository"]))
    assert (here["destination"], there["destination"]) == ("standard", "repository")
    assert here["runs"]["backup"]["started"] == there["runs"]["backup"]["started"]
    assert "verify" in there["runs"]
    assert not here["runs"].get("verify")


def spoil(disk):
    """Damage a chunk of each bundle."""
    for path in (disk / "bundles").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            path.chmod(0o600)
            path.write_bytes(data[:70] + bytes([data[70] ^ 1]) + data[71:])


def test_a_backup_stores_again_what_scrub_found_damaged(project, tmp_path):
    project.commit(blobs={"large": random.Random(1).randbytes(3 << 20)})
    assert main(["backup", "-q", "--to", "repository"]) == DONE
    [leaves] = [
        path for path in (tmp_path / "disk" / "bundles").rglob("*")
        if path.is_file() and path.stat().st_size > 1 << 20
    ]  # fmt: skip
    data = leaves.read_bytes()
    leaves.chmod(0o600)
    leaves.write_bytes(data[:90] + bytes([data[90] ^ 1]) + data[91:])
    assert main(["repository", "scrub", "-q"]) == IntegrityError.exit_code
    project.commit({"page": 2})
    assert main(["backup", "-q", "--to", "repository"]) == DONE
    to = tmp_path / "to"
    assert main(["restore", "-qn", "--from", "repository", "--to", str(to)]) == DONE
    assert contents_of(to / "Data.fs", to / "blobstorage") == project.contents()


@pytest.mark.parametrize("how", ["scrubbed", "gone"])
def test_a_copy_to_a_damaged_repository_stores_again_what_it_needs_of_that(project, tmp_path, how):
    disk, other = tmp_path / "disk", tmp_path / "other"
    configure(project, location="none", repository=f"repository {disk}\nthere {other}")
    assert main(["repository", "init", "there", "-q"]) == DONE
    project.commit(blobs={"large": random.Random(1).randbytes(3 << 20)})
    assert main(["backup", "-q", "--to", "repository"]) == DONE
    copying = ["repository", "copy", "repository", "--to", "there"]
    assert main(copying) == DONE
    if how == "scrubbed":
        spoil(other)
        assert main(["repository", "scrub", "there", "-q"]) == IntegrityError.exit_code
    else:
        shutil.rmtree(other / "bundles")
    project.commit({"page": 2})
    assert main(["backup", "-q", "--to", "repository"]) == DONE
    assert main(copying) == DONE
    to = tmp_path / "to"
    assert main(["restore", "-qn", "--from", "there", "--to", str(to)]) == DONE
    assert contents_of(to / "Data.fs", to / "blobstorage") == project.contents()


@pytest.mark.parametrize("place", ["var", "var/blobstorage", "var/blobstorage/0x00", "var/backups"])
def test_no_store_is_tried_out_where_there_can_be_no_repository(project, place, capfd):
    assert main(["backup", "-q", "--to", "directory"]) == DONE
    before = sorted(project.directory.rglob("*"))
    assert main(["repository", "check-store", str(project.directory / place)]) == WRONG
    assert "there can be no repository" in told(capfd)
    assert sorted(project.directory.rglob("*")) == before


def test_init_makes_no_directory_above_that_of_the_repository(project, tmp_path, capfd):
    mount = tmp_path / "mnt" / "disk"
    configure(project, repository=str(mount / "plone"))
    assert main(["repository", "init", "-q"]) == WRONG
    assert "is the disk mounted" in told(capfd)
    assert not mount.parent.exists()
    mount.mkdir(parents=True)
    assert main(["repository", "init", "-q"]) == DONE
    assert (mount / "plone" / "format").is_file()


def test_init_makes_no_repository_where_a_disk_of_fstab_is_not_mounted(
    project, tmp_path, capfd, monkeypatch
):
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (tmp_path / "fstab").write_text(f"UUID=1 {shelf} ext4 noauto 0 0\n")
    monkeypatch.setattr(mounts, "EXPECTED", tmp_path / "fstab")
    configure(project, repository=str(shelf / "backups"))
    assert main(["repository", "init"]) == StoreUnreachable.exit_code
    assert f"the disk at {shelf} is not mounted, although" in told(capfd)
    assert list(shelf.iterdir()) == []
    (tmp_path / "fstab").write_text("")
    assert main(["repository", "init"]) == DONE


def test_damage_in_the_store_is_found_by_scrub_and_by_verify(project, tmp_path, capfd):
    assert main(["backup", "-q"]) == DONE
    spoil(tmp_path / "disk")
    assert main(["repository", "scrub"]) == IntegrityError.exit_code
    assert "damaged: bundles/" in capfd.readouterr().out
    assert main(["verify", "--from", "repository"]) == IntegrityError.exit_code
    # remembered, as in a directory
    [storage] = answer(capfd, "list", "--from", "repository")["storages"]
    assert storage["restore_points"][0]["damaged"]


def test_the_passphrase_may_be_in_a_file_or_come_from_a_command(
    project, tmp_path, monkeypatch, capfd
):
    monkeypatch.delenv("SITEBACKUP_PASSPHRASE")
    assert main(["list", "--from", "repository"]) == WRONG
    assert "repository_passphrase_file" in told(capfd)
    secret = tmp_path / "secret"
    secret.write_text(f"{PASSPHRASE}\nsomething else\n")
    disk = str(tmp_path / "disk")
    configure(project, repository=disk, repository_passphrase_file=str(secret))
    assert main(["list", "--from", "repository"]) == DONE
    configure(project, repository=disk, repository_passphrase_command=f"cat {secret}")
    assert main(["list", "--from", "repository"]) == DONE
    configure(project, repository=disk, repository_passphrase_command="exit 3")
    assert main(["list", "--from", "repository"]) == 7
    monkeypatch.setenv("SITEBACKUP_PASSPHRASE_REPOSITORY", PASSPHRASE)
    assert main(["list", "--from", "repository"]) == DONE


def test_a_wrong_passphrase_and_a_wrong_place_are_told(project, monkeypatch, capfd):
    monkeypatch.setenv("SITEBACKUP_PASSPHRASE", "another one")
    assert main(["backup", "--to", "repository"]) == WRONG
    assert "does not fit" in told(capfd)
    assert main(["list", "--from", "elsewhere"]) == WRONG
    assert "this site has: directory, repository" in told(capfd)
    assert main(["repository", "init"]) == WRONG
    assert "a repository already" in told(capfd)


def test_no_passphrase_comes_to_a_disk_or_into_a_message(project, tmp_path, capfd):
    assert main(["backup", "--debug"]) == DONE
    assert PASSPHRASE not in told(capfd)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert PASSPHRASE.encode() not in path.read_bytes(), path


def test_a_passphrase_is_changed(project, tmp_path, monkeypatch, capfd):
    assert main(["backup", "-q"]) == DONE
    new = tmp_path / "new"
    new.write_text("another passphrase\n")
    assert main(["repository", "change-key", "--passphrase-file", str(new)]) == DONE
    assert "the old passphrase opens the repository no more" in told(capfd)
    assert main(["list", "--from", "repository"]) == WRONG
    monkeypatch.setenv("SITEBACKUP_PASSPHRASE", "another passphrase")
    assert main(["list", "--from", "repository"]) == DONE


def test_each_action_has_a_help_of_its_own(project, capfd):
    assert ACTIONS_BY_NAME.keys() | {CHECK_STORE} == ACTIONS.keys()
    for name, action in ACTIONS.items():
        assert main(["repository", name, "--help"]) == DONE
        said = capfd.readouterr().out
        assert said.startswith(f"usage: sitebackup repository {name} ")
        assert " ".join(said.split()).count(action.does) == 1
        offered = set(re.findall("--[a-z-]+", said.partition("all commands:")[0]))
        assert offered - {"--help", "--json"} >= set(action.options)
        assert ("--key" in offered) == (name == "remove-key")


def test_an_option_that_means_nothing_to_an_action_is_refused(project, capfd):
    assert main(["repository", "collect", "--key", "first"]) == WRONG
    said = told(capfd)
    assert "--key means nothing to collect" in said
    assert "it is for remove-key" in said


def test_keys_are_listed_added_and_removed(project, tmp_path, capfd):
    second = tmp_path / "second"
    second.write_text("a second passphrase")
    assert main(["repository", "add-key", "--passphrase-file", str(second), "-q"]) == DONE
    keys = {each["label"]: each["name"] for each in answer(capfd, "repository", "keys")["keys"]}
    assert keys.keys() == {"first", "second"}
    assert main(["repository", "remove-key", "--key", keys["first"]]) == WRONG
    assert "opens no other key" in told(capfd)
    assert main(["repository", "remove-key", "--key", "third"]) == WRONG
    assert "the action keys lists" in told(capfd)
    assert main(["repository", "remove-key", "--key", "second"]) == DONE
    assert f"removed the key {keys['second']}" in told(capfd)
    assert len(answer(capfd, "repository", "keys")["keys"]) == 1


def test_only_a_backup_with_something_to_add_tries_the_passphrase(project, monkeypatch, capfd):
    assert main(["backup", "-q", "--to", "repository"]) == DONE
    monkeypatch.setenv("SITEBACKUP_PASSPHRASE", "a wrong passphrase")
    assert main(["backup", "--to", "repository"]) == DONE
    assert "nothing changed" in told(capfd)
    for verb in ("list", "status", "verify"):
        assert main([verb, "--from", "repository"]) == WRONG
    project.commit({"page": 2})
    assert main(["backup", "-q", "--to", "repository"]) == WRONG
    monkeypatch.delenv("SITEBACKUP_PASSPHRASE")
    project.commit({"page": 3})
    assert main(["backup", "-q", "--to", "repository"]) == WRONG


def test_a_backup_with_nothing_to_add_misses_a_passphrase_that_is_gone(project, monkeypatch, capfd):
    assert main(["backup", "-q", "--to", "repository"]) == DONE
    monkeypatch.delenv("SITEBACKUP_PASSPHRASE")
    assert main(["backup", "-q", "--to", "repository"]) == WRONG
    assert "there is no passphrase" in told(capfd)


def test_a_recovery_sheet_opens_a_repository_whose_passphrase_is_lost(
    project, tmp_path, monkeypatch, capfd
):
    assert main(["backup", "-q"]) == DONE
    capfd.readouterr()
    assert main(["repository", "sheet"]) == DONE
    sheet = capfd.readouterr().out
    assert main(["repository", "sheet", "--html", str(tmp_path / "sheet.html")]) == DONE
    page = (tmp_path / "sheet.html").read_text()
    assert all(line in page for line in sheet.splitlines())
    assert (tmp_path / "sheet.html").stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("SITEBACKUP_PASSPHRASE", "a new passphrase")
    assert main(["list", "--from", "repository"]) == WRONG
    monkeypatch.setattr("sys.stdin", io.StringIO(re.sub("(?m)^.*: ", "", sheet).lower()))
    assert main(["repository", "recover"]) == DONE
    assert main(["list", "--from", "repository"]) == DONE
    told(capfd)
    monkeypatch.setattr("sys.stdin", io.StringIO(re.sub("(?m)^.*: ", "", sheet).lower()))
    assert main(["repository", "recover"]) == DONE
    assert "nothing is added: this passphrase opens the key keys/" in told(capfd)


def test_what_a_repository_holds_is_said_in_numbers(project, capfd):
    assert main(["backup", "-q"]) == DONE
    document = answer(capfd, "repository", "stat")
    assert document["sites"] == {"plone": 1}
    assert 0 < document["needed"] < document["stored"]
    assert main(["repository", "stat"]) == DONE
    assert "restore points of plone: 1" in capfd.readouterr().out


def test_collect_says_what_it_would_do_and_does_it(project, capfd):
    assert main(["backup", "-q"]) == DONE
    dry = answer(capfd, "repository", "collect", "--dry-run")
    assert dry == {**dry, "dry_run": True, "removed": 0, "marked": 0}
    assert main(["repository", "collect"]) == DONE
    assert "0 B removed" in capfd.readouterr().out
    assert main(["verify", "--from", "repository", "-q"]) == DONE


def test_a_repository_that_everybody_can_read_must_be_asked_for(
    project, tmp_path, monkeypatch, capfd
):
    configure(project, repository=str(tmp_path / "open"))
    assert main(["repository", "init", "--unencrypted"]) == WRONG
    monkeypatch.delenv("SITEBACKUP_PASSPHRASE")
    assert main(["repository", "init"]) == WRONG
    assert main(["repository", "init", "--unencrypted"]) == DONE
    assert main(["backup", "-q"]) == DONE
    assert main(["repository", "sheet"]) == WRONG
    assert "not encrypted" in told(capfd)


def test_values_of_repository_that_make_no_sense_are_refused(project, tmp_path, capfd):
    disk = tmp_path / "disk"
    for value, why in (
        (f"{disk}\n{tmp_path / 'other'}", "two called repository"),
        ("ftp://bucket/plone", "at a path, or at a URL of"),
        (f"directory {disk}", "no name for a repository"),
        (f"one two {disk}", r"\[NAME\] URL"),
    ):
        configure(project, repository=value)
        assert main(["list"]) == WRONG
        assert re.search(why, told(capfd))
    configure(project)
    assert main(["repository", "stat"]) == WRONG
    assert "has no repository" in told(capfd)
    configure(project, files="etc")
    assert main(["backup"]) == WRONG
    assert "set repository as well" in told(capfd)


@pytest.mark.parametrize("by_link", [False, True])
def test_what_lies_among_the_blobs_is_backed_up_where_files_names_it(project, tmp_path, by_link):
    (project.blobstorage / "notes").mkdir()
    (project.blobstorage / "notes" / "why").write_bytes(b"because")
    (tmp_path / "link").symlink_to(project.blobstorage.parent)
    named = tmp_path / "link" / "blobstorage" if by_link else project.blobstorage
    configure(project, repository=str(tmp_path / "disk"), files=f".\n{named}")
    assert main(["backup", "-q", "--to", "repository"]) == DONE
    to = tmp_path / "to"
    assert main(["restore", "-qn", "--from", "repository", "--to", str(to)]) == DONE
    files = to / "files" / str(named).lstrip("/")
    found = [path.relative_to(files) for path in files.rglob("*")]
    assert sorted(map(str, found)) == ["notes", "notes/why"]


def test_further_files_are_backed_up_and_restored_to_another_place(project, tmp_path, capfd):
    (project.directory / "secret.pyc").touch()
    (project.directory / "etc").mkdir()
    (project.directory / "etc" / "zope.conf").write_bytes(b"conf")
    disk, backups = project.directory / "disk", project.directory / "var" / "backups"
    shutil.copytree(tmp_path / "disk", disk)
    gone = str(tmp_path / "gone")
    configure(project, repository=str(disk), files=f".\n{gone}", files_exclude="*.pyc")
    assert main(["backup"]) == IntegrityError.exit_code
    assert f"files: {gone}: it is not there" in told(capfd)
    main(["doctor"])
    assert "there is nothing here, and files says" in capfd.readouterr().out
    to = tmp_path / "to"
    assert main(["restore", "-qn", "--from", "repository", "--to", str(to)]) == DONE

    files = to / "files" / str(project.directory).lstrip("/")
    assert (files / "etc" / "zope.conf").read_bytes() == b"conf"
    assert (files / "sitebackup.toml").is_file()
    for path in (project.filestorage, project.blobstorage, backups, disk):
        assert path.exists()
        assert not (files / path.relative_to(project.directory)).exists()
    assert not (files / "secret.pyc").exists()


def test_the_doctor_opens_the_repository_and_looks_who_may_read_the_passphrase(
    project, tmp_path, monkeypatch, capfd
):
    assert main(["backup", "-q"]) == DONE
    main(["doctor"])
    assert "repository opens; restore points: 1" in capfd.readouterr().out
    monkeypatch.delenv("SITEBACKUP_PASSPHRASE")
    secret = tmp_path / "secret"
    secret.write_text("a wrong passphrase")
    secret.chmod(0o644)
    disk = str(tmp_path / "disk")
    configure(project, repository=disk, repository_passphrase_file=str(secret))
    assert main(["doctor"]) == IntegrityError.exit_code
    said = capfd.readouterr().out
    assert "does not fit" in said
    assert "other users may read the passphrase" in said
    # who does not ask the doctor is told as well, once
    secret.write_text(PASSPHRASE)
    project.commit({"page": 3})
    for command, count in ((["backup"], 1), (["repository", "stat"], 1), (["list"], 0)):
        assert main(command) == DONE
        assert told(capfd).count("may read the passphrase of the repositories: chmod 600") == count
    secret.chmod(0o600)
    assert main(["repository", "keys"]) == DONE
    assert "chmod" not in told(capfd)


def test_a_repository_is_copied_to_another_one_with_a_passphrase_of_its_own(
    project, tmp_path, monkeypatch, capfd
):
    states = {}
    for number in range(3):
        project.commit({"page": number}, {f"f{number}": b"data" * 99, "file": b"%d" % number})
        if number == 2:
            project.pack()
        assert main(["backup", "-q", "--to", "repository"]) == DONE
        [storage] = answer(capfd, "list", "--from", "repository")["storages"]
        states[storage["restore_points"][-1]["stamp"]] = project.contents()
    configure(project, repository=f"{tmp_path / 'disk'}\nthere {tmp_path / 'other'}")
    monkeypatch.setenv("SITEBACKUP_PASSPHRASE_THERE", "another passphrase")
    assert main(["repository", "init", "there", "-q"]) == DONE
    copying = ["repository", "copy", "repository", "--to", "there"]
    assert len(answer(capfd, *copying, "--dry-run")["copied"]) == 3
    assert len(answer(capfd, *copying)["copied"]) == 3
    assert answer(capfd, *copying)["copied"] == []
    shutil.rmtree(tmp_path / "disk")
    assert main(["verify", "--from", "there", "--depth", "records", "-q"]) == DONE
    for stamp, contents in states.items():
        to = tmp_path / stamp
        assert main(["restore", "-qn", "--from", "there", stamp, "--to", str(to)]) == DONE
        assert contents_of(to / "Data.fs", to / "blobstorage") == contents
    # the copy is gone on with as if each restore point had been made there
    assert main(["backup", "-q", "--to", "there"]) == DONE
    [storage] = answer(capfd, "list", "--from", "there")["storages"]
    assert len(storage["restore_points"]) == 3
    assert main(["repository", "copy", "there", "--to", "there"]) == WRONG


def test_libraries_that_are_missing_are_named(project, monkeypatch, capfd):
    monkeypatch.setattr(libraries, "find_spec", lambda name: None)
    assert main(["backup", "--to", "repository"]) == WRONG
    assert "collective.recipe.backup[repository]" in told(capfd)
