"""One byte flipped, one file missing, cut or swapped: verify names it, restore refuses."""

from __future__ import annotations

import shutil
from hashlib import md5

import pytest

from collective.recipe.backup.errors import BackupError, IntegrityError, NoRestorePoint
from collective.recipe.backup.files import Files
from collective.recipe.backup.progress import Silent
from collective.recipe.backup.repozo.chains import Chain
from collective.recipe.backup.repozo.ledger import Part, is_data_file, write_ledger
from collective.recipe.backup.repozo.partreading import PIECE, checked
from collective.recipe.backup.repozo.recover import recover
from collective.recipe.backup.tests.vault import Vault


@pytest.fixture(scope="module", params=["ours", "ours, no gzip", "repozo"])
def whole(request, tmp_path_factory):
    """A vault of two chains, the newer one of three parts."""
    vault = Vault(tmp_path_factory.mktemp("whole"))
    vault.commit()
    for commits, full in enumerate([True, False, True, False, False]):
        vault.commit(size=200 * commits)
        if request.param == "repozo":
            vault.repozo_backup("-z", "-Q", *(["-F"] if full else []))
        else:
            vault.take(full=full, level=2 if request.param == "ours" else None)
    assert vault.problems() == []
    return vault


@pytest.fixture
def vault(whole, tmp_path):
    return whole.twin(tmp_path / "backups")


def named(vault, path):
    """Tell whether verify names *path*."""
    return any(problem.where == str(path) for problem in vault.problems())


def refused(vault, part):
    """Tell whether restoring the newest state is refused, and the file is named."""
    with pytest.raises(IntegrityError) as caught:
        vault.recovered()
    assert caught.value.where == str(vault.chain.path(part))
    for problem in vault.problems():
        if problem.where == caught.value.where:
            assert problem.hint == caught.value.hint
    return True


def test_each_flipped_byte_of_each_data_file_is_found(vault, whole):
    source = vault.source
    for part in vault.chain.parts:
        path = vault.chain.path(part)
        data = path.read_bytes()
        for offset in range(0, len(data), 7):
            damaged = bytearray(data)
            damaged[offset] ^= 0x10
            path.write_bytes(damaged)
            try:
                recovered = vault.recovered()
            except IntegrityError as error:
                assert error.where == str(path)
                assert named(vault, path)
            else:
                # bits of gzip that say nothing about the data; repozo keeps no digest of them
                assert recovered == source
                assert named(vault, path) or not list(vault.directory.glob("*.blocks"))
        path.write_bytes(data)
    assert vault.problems() == []


def test_each_flipped_byte_of_the_ledger_is_found(vault, whole):
    """Of the path that repozo writes into its lines nothing is used, so nothing can be wrong."""
    source, path, chains = vault.source, vault.chain.ledger, vault.chains
    data = path.read_bytes()
    for offset in range(len(data)):
        damaged = bytearray(data)
        damaged[offset] ^= 0x01
        path.write_bytes(damaged)
        if vault.chains == chains:
            assert b"/" in data
            continue
        assert vault.problems(), offset
        chain = next((chain for chain in vault.chains if chain.ledger == path), None)
        if chain:
            try:
                recovered = vault.recovered(chain=chain)
            except BackupError:
                continue
            # a line that cannot be read any more, and so is not there
            assert recovered == source[: len(recovered)]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_missing_data_file_is_found(vault, number):
    part = vault.chain.parts[number]
    vault.chain.path(part).unlink()
    assert named(vault, vault.chain.path(part))
    assert refused(vault, part)
    before = vault.chain.parts[:number]
    for good in before:
        assert vault.recovered(through=good.stamp) == vault.source[: good.end]
    hint = vault.problems()[0].hint
    if before:
        assert hint == f"the chain {vault.chain.stamp} can be restored up to {before[-1].stamp}"
    else:
        assert "another may be whole" in hint


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("left", [0, 0.5, 0.99])
def test_a_data_file_that_was_cut_is_found(vault, number, left):
    part = vault.chain.parts[number]
    path = vault.chain.path(part)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * left)])
    assert named(vault, path)
    assert refused(vault, part)


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("more", [b"\0" * 10, b"garbage", "itself"])
def test_a_data_file_with_something_after_it_is_found(vault, number, more):
    part = vault.chain.parts[number]
    path = vault.chain.path(part)
    data = path.read_bytes()
    path.write_bytes(data + (data if more == "itself" else more))
    if more == b"\0" * 10 and part.compressed:
        # gzip allows for zeros at the end, so what it holds is still whole
        assert vault.recovered() == vault.source
        assert named(vault, path) or not list(vault.directory.glob("*.blocks"))
    else:
        assert named(vault, path)
        assert refused(vault, part)


def test_what_follows_a_whole_number_of_reads_is_found(tmp_path):
    data = b"x" * PIECE
    part = Part("2026-03-01-12-00-00.fs", 0, PIECE, md5(data).hexdigest())
    chain = Chain(tmp_path, part.stamp, (part,))
    chain.path(part).write_bytes(data)
    assert b"".join(checked(chain, part)) == data
    chain.path(part).write_bytes(data + b"garbage")
    with pytest.raises(IntegrityError, match="holds more than"):
        list(checked(chain, part))


def test_two_data_files_that_were_swapped_are_found(vault):
    _full, second, third = (vault.chain.path(part) for part in vault.chain.parts)
    aside = second.with_name("aside")
    second.rename(aside)
    third.rename(second)
    aside.rename(third)
    assert named(vault, second)
    assert named(vault, third)
    assert refused(vault, vault.chain.parts[1])


def test_a_full_backup_of_another_chain_is_found(vault):
    old, new = (chain.path(chain.parts[0]) for chain in vault.chains)
    shutil.copy(old, new)
    assert named(vault, new)
    assert refused(vault, vault.chain.parts[0])


def test_a_missing_ledger_makes_orphans_of_all_its_files(vault):
    parts = vault.chain.parts
    vault.chain.ledger.unlink()
    problems = vault.problems()
    assert [problem.where for problem in problems] == [
        str(vault.directory / part.name) for part in parts
    ]
    assert all(is_data_file(problem.where.rsplit("/", 1)[1]) for problem in problems)


def test_verify_goes_on_after_each_problem(vault):
    first, second, third = (vault.chain.path(part) for part in vault.chain.parts)
    for path in (first, third):
        path.write_bytes(path.read_bytes()[:-9])
    vault.chains[0].path(vault.chains[0].parts[1]).unlink()
    (vault.directory / "2026-03-01-20-00-30.deltafs").write_bytes(b"of nobody")
    wheres = {problem.where.rsplit("/", 1)[1] for problem in vault.problems()}
    assert wheres == {
        first.name,
        third.name,
        vault.chains[0].parts[1].name,
        "2026-03-01-20-00-30.deltafs",
    }
    assert second.name not in wheres


def test_verify_changes_no_file_of_a_damaged_directory(vault):
    vault.chain.path(vault.chain.parts[1]).unlink()
    (vault.directory / "tmp.tmp").touch()
    before = {name: (vault.directory / name).stat().st_mtime_ns for name in vault.names}
    assert vault.problems()
    assert {name: (vault.directory / name).stat().st_mtime_ns for name in vault.names} == before


def test_damaged_digests_are_named_and_do_no_harm(vault):
    for path in vault.directory.glob("*.blocks"):
        path.write_bytes(path.read_bytes()[:-1])
        assert named(vault, path)
    assert vault.recovered() == vault.source


def test_a_log_that_was_damaged_before_it_was_backed_up_is_found(vault):
    """As the ledger says, byte for byte, and still no filestorage."""
    full, *rest = vault.chain.parts
    data = b"FS30" + b"x" * (full.size - 4)
    plain = full._replace(name=f"{full.stamp}.fs", checksum=md5(data).hexdigest())
    vault.chain.path(full).unlink()
    for path in vault.directory.glob(f"{full.stamp}.blocks"):
        path.unlink()
    vault.chain.path(plain).write_bytes(data)
    write_ledger(vault.directory, vault.chain.stamp, [plain, *rest], Files())
    [problem] = vault.problems()
    assert problem.where == str(vault.chain.path(plain))
    assert "damaged at byte 4" in problem.what
    assert refused(vault, plain)


def test_a_log_that_was_cut_within_a_transaction_is_found(vault):
    *before, last = vault.chain.parts
    data = vault.source[last.start : last.end - 5]
    cut = last._replace(
        name=f"{last.stamp}.deltafs", end=last.end - 5, checksum=md5(data).hexdigest()
    )
    vault.chain.path(last).unlink()
    for path in vault.directory.glob(f"{last.stamp}.blocks"):
        path.unlink()
    vault.chain.path(cut).write_bytes(data)
    write_ledger(vault.directory, vault.chain.stamp, [*before, cut], Files())
    [problem] = vault.problems()
    assert problem.where == str(vault.chain.path(cut))
    assert "does not end where a transaction does" in problem.what
    assert refused(vault, cut)


def test_nothing_is_written_where_a_part_is_missing(vault):
    vault.chain.path(vault.chain.last).unlink()
    written = []
    with pytest.raises(IntegrityError, match="missing"):
        recover(vault.chain, written.append, through=None, until=None, progress=Silent())
    assert written == []


def test_a_stamp_that_the_chain_has_not(vault):
    with pytest.raises(NoRestorePoint, match="no backup of 2020"):
        vault.recovered(through="2020-01-01-00-00-00")


def test_nothing_earlier_is_given_for_what_a_broken_ledger_names(vault):
    full, second, third = vault.chain.parts
    text = vault.chain.ledger.read_text().replace(
        f" {third.start} {third.end}", f" {third.start + 1} {third.end}"
    )
    vault.chain.ledger.write_text(text)
    for through in (None, third.stamp):
        with pytest.raises(IntegrityError, match="does not join") as caught:
            vault.recovered(through=through)
        assert caught.value.hint.endswith(f"up to {second.stamp}")
    assert vault.recovered(through=second.stamp) == vault.source[: second.end]
