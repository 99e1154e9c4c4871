"""What is damaged in a repository is taken from wherever the site has it, or named."""

from __future__ import annotations

import errno
import json
import os
import shutil

import pytest

from collective.recipe.backup.errors import DONE, IntegrityError
from collective.recipe.backup.operations.repositoryhealing import Healing, _stays_weak, loss_left
from collective.recipe.backup.repository.chunks import is_node
from collective.recipe.backup.repository.healing import HealedBundles
from collective.recipe.backup.repository.names import bundle_name
from collective.recipe.backup.repository.opened import Client, open_repository
from collective.recipe.backup.sitebackup import main
from collective.recipe.backup.stores import Weakness
from collective.recipe.backup.stores.local import LocalStore
from collective.recipe.backup.tests.faults.harness import Hasty
from collective.recipe.backup.tests.samples import contents_of
from collective.recipe.backup.tests.unit.test_repository_door import (
    PASSPHRASE,
    _keys_that_cost_little,
    answer,
    configure,
    project,
)

__all__ = ["_keys_that_cost_little", "project"]


@pytest.fixture
def disk(project, tmp_path):
    """The store, after two backups to the directory and to it."""
    assert main(["backup", "-q"]) == DONE
    project.commit({"page": 2}, {"other": b"more" * 99})
    project.commit({"page": 3}, {"third": bytes(range(256)) * 40})
    assert main(["backup", "-q"]) == DONE
    return tmp_path / "disk"


def bundles_in(disk):
    return sorted((disk / "bundles").glob("*/*"))


def spoil(disk, how):
    """Damage all bundles: at every chunk of any size, or wholly."""
    for path in bundles_in(disk):
        data = bytearray(path.read_bytes())
        if how == "removed":
            path.unlink()
            continue
        for at in range(60, len(data), 97):
            data[at] ^= 1
        path.write_bytes(data)


def verified(name="repository"):
    return main(["verify", "-q", "--from", name, "--depth", "records"])


def restored(stamp, to, name="repository"):
    assert main(["restore", "-qn", "--from", name, "--to", str(to), stamp]) == DONE
    return contents_of(to / "Data.fs", to / "blobstorage")


def stamps(capfd, name="repository"):
    [storage] = answer(capfd, "list", "--from", name)["storages"]
    return [each["stamp"] for each in storage["restore_points"]]


@pytest.mark.parametrize("how", ["changed", "removed"])
def test_what_is_damaged_is_healed_from_the_live_site(project, disk, tmp_path, capfd, how):
    both = stamps(capfd)
    before = [restored(stamp, tmp_path / stamp) for stamp in both]
    shutil.rmtree(project.directory / "var" / "backups")
    spoil(disk, how)
    assert verified() == IntegrityError.exit_code
    assert main(["repository", "heal", "-q"]) == DONE
    assert verified() == DONE
    assert [restored(stamp, tmp_path / f"{stamp}-again") for stamp in both] == before
    assert before[-1] == project.contents()


def opened(disk):
    client = Client(files=Hasty(), ask=lambda: PASSPHRASE)
    return open_repository(LocalStore(disk, Hasty()), client)


def spoil_leaves(disk):
    """Damage the bytes of the site themselves, and no list."""
    with opened(disk) as repository:
        index = repository.index
        chunks = [chunk for bundle in index.bundles() for chunk in index.chunks_in(bundle)]
        places = [place for _chunk, found in index.of(chunks) for place in found]
    for place in places:
        if not is_node(place.kind):
            path = disk / bundle_name(place.bundle)
            data = bytearray(path.read_bytes())
            data[place.offset + place.stored // 2] ^= 1
            path.write_bytes(data)


def test_what_the_live_site_has_no_more_is_taken_from_the_directory(project, disk, tmp_path, capfd):
    both = stamps(capfd)
    before = [restored(stamp, tmp_path / stamp) for stamp in both]
    project.commit({"page": 4}, {"file": b"another"})
    project.pack()
    spoil_leaves(disk)
    assert main(["repository", "heal", "-q"]) == DONE
    assert verified() == DONE
    assert [restored(stamp, tmp_path / f"{stamp}-again") for stamp in both] == before


def lose_the_site(project):
    """Let the live site and its directories be another one's."""
    shutil.rmtree(project.directory / "var" / "backups")
    shutil.rmtree(project.directory / "var" / "blobstoragebackups", ignore_errors=True)
    project.filestorage.unlink()
    shutil.rmtree(project.blobstorage)


def test_what_only_another_repository_has_is_taken_from_there(project, disk, tmp_path, capfd):
    both = stamps(capfd)
    before = [restored(stamp, tmp_path / stamp) for stamp in both]
    configure(project, repository=f"here {disk}\nthere {tmp_path / 'far'}")
    assert main(["repository", "init", "there", "-q"]) == DONE
    assert main(["repository", "copy", "here", "--to", "there", "-q"]) == DONE
    lose_the_site(project)
    spoil(disk, "removed")
    assert main(["repository", "heal", "here", "-q"]) == DONE
    assert verified("here") == DONE
    assert [restored(each, tmp_path / f"{each}-again", "here") for each in both] == before


def test_what_is_nowhere_is_named_with_the_restore_points_that_need_it(project, disk, capfd):
    first, second = stamps(capfd)
    lose_the_site(project)
    spoil_leaves(disk)
    capfd.readouterr()
    assert main(["repository", "heal", "--json"]) == IntegrityError.exit_code
    said = capfd.readouterr()
    lost = json.loads(said.out)["lost"]
    assert {stamp for each in lost for stamp in each["restore_points"]} == {
        f"plone {first}",
        f"plone {second}",
    }
    assert any("of the blob oid 0x" in each["what"] for each in lost)
    assert any("of a filestorage: transactions " in each["what"] for each in lost)
    assert "2 restore points" in said.err
    assert main(["repository", "heal"]) == IntegrityError.exit_code
    assert "lost: bytes 0 to " in capfd.readouterr().out


def test_what_a_first_look_lost_a_second_one_takes_from_where_it_is_by_then(
    project, disk, tmp_path, capfd
):
    both = stamps(capfd)
    shutil.copytree(project.directory / "var", tmp_path / "var", symlinks=True)
    lose_the_site(project)
    spoil_leaves(disk)
    assert main(["repository", "heal", "-q"]) == IntegrityError.exit_code
    shutil.rmtree(project.directory / "var")
    (tmp_path / "var").rename(project.directory / "var")
    assert main(["repository", "heal", "-q"]) == DONE
    assert verified() == DONE
    assert restored(both[-1], tmp_path / "to") == project.contents()


def test_a_disk_that_cannot_read_some_bytes_is_named_and_healed(
    project, disk, tmp_path, capfd, monkeypatch
):
    both = stamps(capfd)
    bad, read = os.stat(bundles_in(disk)[0]).st_ino, os.pread

    def pread(descriptor, size, at):
        if os.fstat(descriptor).st_ino == bad and at + size > 100:
            raise OSError(errno.EIO, "Input/output error")
        return read(descriptor, size, at)

    monkeypatch.setattr(os, "pread", pread)
    assert verified() == IntegrityError.exit_code
    assert main(["repository", "scrub", "-q"]) == IntegrityError.exit_code
    assert main(["repository", "heal", "-q"]) == DONE
    assert verified() == DONE
    assert restored(both[-1], tmp_path / "to") == project.contents()


def test_bytes_that_were_read_wrong_once_are_not_damaged(project, disk, monkeypatch):
    read, flipped = os.pread, []

    def pread(descriptor, size, at):
        data = read(descriptor, size, at)
        if size < 1000 or flipped:
            return data
        flipped.append(at)
        return data[:500] + bytes([data[500] ^ 1]) + data[501:]

    monkeypatch.setattr(os, "pread", pread)
    assert verified() == DONE
    assert flipped
    flipped.clear()
    assert main(["repository", "scrub", "-q"]) == DONE
    assert flipped


def test_an_object_that_stays_weak_is_an_error_that_names_it() -> None:
    lacks = Weakness("points/a", "2 of 3 shares", is_lost=False, is_mended=False)
    done = HealedBundles(sound=(), replaced=(), found=0, lost=())
    left = loss_left(Healing(mended=3, weak=(lacks,), done=done, lost=()))
    assert left is not None
    assert left.where == "points/a"
    assert "1 object of the store could not be made whole" in str(left)
    assert loss_left(Healing(mended=3, weak=(), done=done, lost=())) is None
    mended, lost = lacks._replace(is_mended=True), lacks._replace(is_lost=True)
    bundle = lost._replace(name="bundles/a")
    stays = [each for each in (lacks, mended, lost, bundle) if _stays_weak(each)]
    assert stays == [lacks, lost]
