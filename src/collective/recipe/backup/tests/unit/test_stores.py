from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from collective.recipe.backup import times
from collective.recipe.backup.errors import (
    BackupError,
    ConfigurationError,
    StoreRefused,
    StoreUnreachable,
)
from collective.recipe.backup.files import Files
from collective.recipe.backup.stores import NoSuchObject, ObjectExists
from collective.recipe.backup.stores.local import LocalStore
from collective.recipe.backup.stores.memory import MemoryStore
from collective.recipe.backup.stores.opening import store_at
from collective.recipe.backup.stores.proving import prove
from collective.recipe.backup.tests.contracts.store import NAME, StoreContract, names
from collective.recipe.backup.tests.faults.harness import Hasty, survive_every_fault


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self):
        return MemoryStore()


class TestLocal(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        (tmp_path / "of").mkdir()
        store = LocalStore(tmp_path / "of" / "the store", Hasty())
        store.prepare()
        return store


class Incapable(Files):
    """Files of a disk without hard links, renameat2 and fsync of directories."""

    def _change(self, operation, path, function, *args, **kwargs):
        lacks_rename = function.__name__ == "_rename_new"
        if operation == "link" or lacks_rename:
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        if operation == "fsync" and path.is_dir():
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return function(*args, **kwargs)


class TestLocalOnASimpleDisk(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        store = LocalStore(tmp_path, Incapable())
        store.prepare()
        return store

    def test_one_of_many_that_race_succeeds(self, store):
        """Such a disk cannot promise it; names are digests, so both would write the same."""


class AddOnly(Files):
    """Files of a disk to which one may only add."""

    def _change(self, operation, path, function, *args, **kwargs):
        if operation == "unlink" and not str(path).endswith(".partial"):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        return super()._change(operation, path, function, *args, **kwargs)


def test_a_disk_to_which_one_may_only_add_refuses_as_a_credential_does(tmp_path):
    store = LocalStore(tmp_path, AddOnly())
    store.put("m/a", b"x")
    with pytest.raises(StoreRefused, match="cannot remove") as caught:
        store.delete("m/a")
    assert "may remove" in caught.value.hint
    found = [each.what for each in prove(store, times.utcnow())]
    assert any("may not remove" in what for what in found)


@pytest.fixture
def local(tmp_path):
    store = LocalStore(tmp_path / "store", Hasty())
    store.prepare()
    return store


def test_all_is_for_its_owner_alone(local, tmp_path):
    os.umask(os.umask(0))
    local.put(NAME, b"x")
    found = [tmp_path / "store", *(tmp_path / "store").rglob("*")]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in found if path.is_dir()}
    assert modes == {0o700}
    assert [stat.S_IMODE(path.stat().st_mode) for path in found if path.is_file()] == [0o600]


def test_where_the_disk_is_not_mounted_nothing_is_made_and_the_hint_says_so(tmp_path):
    store = LocalStore(tmp_path / "mount" / "store", Files())
    for ask in (
        lambda: store.put(NAME, b"x"),
        lambda: store.get(NAME),
        lambda: list(store.list()),
        lambda: store.delete(NAME),
        store.clock,
    ):
        with pytest.raises(StoreUnreachable) as caught:
            ask()
        assert "mounted" in caught.value.hint
        assert caught.value.exit_code == 6
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ESTALE, StoreUnreachable),
        (errno.ENOTCONN, StoreUnreachable),
        (errno.EIO, BackupError),
    ],
)
def test_a_disk_that_went_away_cannot_be_reached(tmp_path, number, kind):
    class Gone(Files):
        def _change(self, *_args, **_kwargs):
            raise OSError(number, os.strerror(number))

    store = LocalStore(tmp_path, Gone())
    with pytest.raises(BackupError) as caught:
        store.put(NAME, b"x")
    assert type(caught.value) is kind
    assert os.strerror(number) in caught.value.what
    assert caught.value.hint


def test_what_is_no_object_is_not_listed(local, tmp_path):
    local.put(NAME, b"x")
    root = tmp_path / "store"
    (root / "lost+found").mkdir()
    (root / "lost+found" / "a").write_bytes(b"")
    (root / "bundles" / "ab" / ".nfs0001").write_bytes(b"")
    (root / "bundles" / "ab" / "x.0123abcd.partial").write_bytes(b"")
    (root / "bundles" / "zz").symlink_to(root / "bundles" / "ab")
    (root / "m").mkdir()
    (root / "m" / "link").symlink_to(root / NAME)
    os.mkfifo(root / "m" / "pipe")
    assert names(local) == [NAME]


def test_a_pipe_in_the_place_of_an_object_is_not_waited_for(local, tmp_path):
    (tmp_path / "store" / "m").mkdir()
    os.mkfifo(tmp_path / "store" / "m" / "pipe")
    with pytest.raises(BackupError, match="not a regular file"):
        local.get("m/pipe")


def test_a_sweep_removes_what_dead_puts_left_and_nothing_of_a_living_one(local, tmp_path):
    local.put(NAME, b"x")
    directory = tmp_path / "store" / "bundles" / "ab"
    dead = directory / "a.0123abcd.partial"
    foreign = directory / "c.old"
    for path in (dead, foreign):
        path.write_bytes(b"half")
    with Files().creating(directory / "living") as writer:
        writer.write(b"half")
        local.sweep()
    assert not dead.exists()
    assert foreign.exists()
    assert local.get(NAME) == b"x"
    assert (directory / "living").read_bytes() == b"half"


def test_a_put_that_fails_anywhere_leaves_no_object_or_a_whole_one(tmp_path):
    worlds = iter(range(1000))

    def make():
        root = tmp_path / str(next(worlds))
        store = LocalStore(root, Hasty())
        store.prepare()
        store.put("m/a", b"before")
        return root

    def act(root, files):
        LocalStore(root, files).put(NAME, b"whole" * 1000)

    def check(root, outcome):
        store = LocalStore(root, Hasty())
        assert store.get("m/a") == b"before"
        found = names(store)
        assert found in (["m/a"], [NAME, "m/a"])
        if outcome is None:
            assert NAME in found
        if NAME in found:
            assert store.get(NAME) == b"whole" * 1000
            with pytest.raises(ObjectExists):
                store.put(NAME, b"other")
        else:
            store.put(NAME, b"whole" * 1000)
            assert store.get(NAME) == b"whole" * 1000

    assert survive_every_fault(make, act, check) > 30


def test_an_object_that_shrinks_while_it_is_read_is_not_served(local, tmp_path):
    local.put(NAME, b"0123456789")
    os.truncate(tmp_path / "store" / NAME, 5)
    assert local.get(NAME) == b"01234"
    with pytest.raises(NoSuchObject):
        local.get(NAME, 0, 10)


class TestOpening:
    @pytest.mark.parametrize(
        ("url", "path"),
        [
            ("/srv/repository", "/srv/repository"),
            ("/srv/100% of it#1?", "/srv/100% of it#1?"),
            ("file:///srv/a%20b", "/srv/a b"),
            ("FILE:///srv/%ff", b"/srv/\xff".decode("utf-8", "surrogateescape")),
            ("file://localhost/srv/a", "/srv/a"),
            ("/srv/a/../b/", "/srv/b"),
        ],
    )
    def test_a_path_or_a_file_url_is_a_directory(self, url, path):
        store = store_at(url, Files())
        assert store._root == Path(path)

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("", "no absolute path"),
            ("relative/path", "no absolute path"),
            ("file:relative", "no absolute path"),
            ("file://host/path", "another machine"),
            ("file:///a?b", "%3F"),
            ("ftp://bucket/a", "knows no repository at ftp: URLs"),
            ("scp://user:secret@host/a", "scp:"),
            ("/a\0b", "no absolute path"),
            ("file:///a%00b", "no absolute path"),
        ],
    )
    def test_all_else_is_refused_with_what_can_be_written(self, url, words):
        with pytest.raises(ConfigurationError) as caught:
            store_at(url, Files())
        assert words in caught.value.what
        assert "file:///path" in caught.value.hint
        assert "secret" not in str(caught.value)
