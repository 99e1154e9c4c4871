from __future__ import annotations

import shutil

import pytest
from ZODB.FileStorage import FileStorage
from ZODB.fsIndex import fsIndex

from collective.recipe.backup.files import Files
from collective.recipe.backup.filestorage.transactionlog import TransactionLog
from collective.recipe.backup.repozo.recover import index_for
from collective.recipe.backup.tests.vault import Vault


@pytest.fixture
def vault(tmp_path):
    vault = Vault(tmp_path / "vault")
    vault.commit()
    return vault


def found(vault, end=None, through=None):
    path = index_for(vault.chain, through, vault.chain.end if end is None else end)
    return path and path.name


def test_the_index_of_a_full_backup_is_copied(vault):
    full = vault.take()
    name = f"{full.stamp}.index"
    index = vault.site.filestorage.with_name("Data.fs.index").read_bytes()
    assert (vault.directory / name).read_bytes() == index
    vault.commit()
    incremental = vault.take()
    assert [each for each in vault.names if each.endswith(".index")] == [name]
    assert found(vault) == name
    assert found(vault, through=full.stamp) == name
    assert found(vault, end=full.end - 1) is None
    assert incremental.stamp != full.stamp


def test_a_restored_filestorage_opens_with_it(vault, tmp_path):
    vault.take()
    vault.commit()
    vault.take()
    restored = tmp_path / "Data.fs"
    restored.write_bytes(vault.recovered())
    shutil.copy(index_for(vault.chain, None, vault.chain.end), tmp_path / "Data.fs.index")
    storage = FileStorage(str(restored), read_only=True)
    try:
        assert storage._used_index  # a mark that it leaves for tests
        assert storage.lastTransaction() == vault.site.tids()[-1]
    finally:
        storage.close()


def test_the_index_of_another_filestorage_is_not_copied(vault, tmp_path):
    other = Vault(tmp_path / "other")
    shutil.copy(other.site.filestorage.with_name("Data.fs.index"), tmp_path / "index")
    fsIndex().save(len(vault.source) - 7, str(vault.site.filestorage) + ".index")
    vault.take()
    assert not [name for name in vault.names if name.endswith(".index")]
    assert found(vault) is None


@pytest.mark.parametrize("damage", ["missing", "empty", "garbage", "of a later end"])
def test_an_index_that_cannot_be_used_is_not_copied(vault, damage):
    index = vault.site.filestorage.with_name("Data.fs.index")
    if damage == "missing":
        index.unlink()
    elif damage == "of a later end":
        fsIndex().save(len(vault.source) + 100, str(index))
    else:
        index.write_bytes(b"" if damage == "empty" else b"garbage" * 10)
    vault.take()
    assert not [name for name in vault.names if name.endswith(".index")]


@pytest.mark.parametrize("number", range(2))
def test_an_index_that_is_exchanged_during_the_copy_is_dropped(vault, number):
    index = vault.site.filestorage.with_name("Data.fs.index")

    class Meddling(Files):
        def writing(self, final, mode=0o666):
            if ".index." in final.name:
                if number:
                    index.write_bytes(b"garbage" * 10)
                else:
                    index.unlink()
            return super().writing(final, mode)

    vault.take(files=Meddling())
    assert not [name for name in vault.names if name.endswith(".index")]
    vault.check()


def test_the_index_of_a_packed_filestorage_is_not_taken_for_ours(vault):
    class Packing(Files):
        def unnamed(self, final, mode=0o666):
            if final.suffix == ".fsz":
                vault.site.pack()
            return super().unnamed(final, mode)

    vault.commit()
    vault.take(files=Packing())
    assert not [name for name in vault.names if name.endswith(".index")]


def test_a_damaged_index_is_named_and_not_used(vault):
    vault.take()
    [index] = vault.directory.glob("*.index")
    data = bytearray(index.read_bytes())
    data[len(data) // 2] ^= 1
    index.write_bytes(data)
    [problem] = vault.problems()
    assert problem.where == str(index)
    assert found(vault) is None


def test_the_index_that_repozo_wrote_serves_its_own_end(vault):
    for _ in range(3):
        vault.commit()
        vault.repozo_backup("-z", "-Q")
    full, second, third = vault.chain.parts
    assert found(vault) == f"{third.stamp}.index"
    assert found(vault, end=third.end - 1) == f"{second.stamp}.index"
    assert found(vault, end=full.end) == f"{full.stamp}.index"
    assert found(vault, through=second.stamp) == f"{second.stamp}.index"
    assert found(vault, end=full.end - 1) is None


def test_the_filestorage_may_be_reached_by_a_link(vault):
    link = vault.root / "link.fs"
    link.symlink_to(vault.site.filestorage)
    with TransactionLog(link) as log:
        assert log.path == link
    vault.site.filestorage.with_name("Data.fs.index").rename(vault.root / "elsewhere")
    vault.site.filestorage.with_name("Data.fs.index").symlink_to(vault.root / "elsewhere")
    vault.take()
    assert [name for name in vault.names if name.endswith(".index")]
    vault.check()
