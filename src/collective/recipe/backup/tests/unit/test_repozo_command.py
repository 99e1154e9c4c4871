from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest
from ZODB.FileStorage import FileStorage
from ZODB.scripts import repozo

from collective.recipe.backup.locking import closed_filestorage, one_writer
from collective.recipe.backup.repozo.command import main
from collective.recipe.backup.tests.vault import Vault

pytestmark = pytest.mark.usefixtures("leaping")


@pytest.fixture
def vault(tmp_path):
    vault = Vault(tmp_path / "vault")
    vault.commit()
    return vault


@pytest.fixture
def run(vault, capfd):
    def run(*arguments):
        """Return exit status, stdout and stderr."""
        status = main([*map(str, arguments), "-r", str(vault.directory)])
        return status, *capfd.readouterr()

    return run


def backup(vault, run, *arguments):
    status, out, err = run("-B", "-Q", "-f", vault.site.filestorage, *arguments)
    assert (status, out) == (0, "")
    return err


def data_files(vault):
    return [name[19:] for name in vault.names if ".fs" in name or ".deltafs" in name]


def test_a_backup_and_its_recovery(vault, run, tmp_path):
    assert backup(vault, run) == ""
    vault.site.commit({"key": "second"})
    backup(vault, run, "-z")
    assert data_files(vault) == [".fs", ".deltafsz"]
    output = tmp_path / "Data.fs"
    assert run("-R", "-o", output) == (0, "", "")
    assert output.read_bytes() == vault.source
    storage = FileStorage(str(output), read_only=True)
    assert storage._used_index  # a mark that it leaves for tests
    storage.close()
    assert run("-V") == (0, "", "")
    vault.repozo("-V")


def test_short_options_may_be_joined_and_long_ones_cut_short(vault):
    status = main(["-BvFzQkf", str(vault.site.filestorage), f"--repos={vault.directory}"])
    assert status == 0
    assert data_files(vault) == [".fsz"]


def test_verbose_says_what_is_done(vault, run):
    assert "full backup" in backup(vault, run, "-v")
    assert "nothing has changed since" in backup(vault, run, "-v")
    vault.site.commit({"key": "second"})
    assert "incremental backup" in backup(vault, run, "-v", "-w", "--output=x")
    err = backup(vault, run, "-v", "-F", "--with-verify")
    assert "--with-verify means nothing with --backup" in err
    assert "2 chains are whole" in run("-V", "-v")[2]
    assert "recovering" in run("-R", "-v", "-o", vault.root / "out")[2]


def test_old_chains_are_killed_only_by_a_full_backup(vault, run):
    backup(vault, run, "-k")
    vault.site.commit({"key": "second"})
    backup(vault, run, "-k")
    assert data_files(vault) == [".fs", ".deltafs"]
    vault.site.pack()
    vault.site.commit({"key": "third"})
    backup(vault, run, "-k", "-z")
    assert data_files(vault) == [".fsz"]
    assert len({name[:19] for name in vault.names if name != ".backup.lock"}) == 1
    assert run("-V") == (0, "", "")


def test_the_date_chooses_the_newest_backup_at_or_before_it(vault, run, tmp_path):
    states = {}
    for full in (True, False, True, False):
        vault.commit()
        states[vault.take(full=full).stamp] = vault.source
    output = tmp_path / "Data.fs"
    for stamp, state in states.items():
        for date in (stamp, f"{stamp[:-5]}30-00"):
            assert run("-R", "-D", date, "-o", output) == (0, "", "")
            assert output.read_bytes() == state
            vault.repozo("-R", "-D", date, "-o", str(tmp_path / "theirs"))
            assert (tmp_path / "theirs").read_bytes() == state
    assert run("-R", "-D", "2030-01-01", "-o", output)[0] == 0
    assert output.read_bytes() == vault.source
    status, _out, err = run("-R", "-D", "2026-03-01", "-o", output)
    assert status == 1
    assert "no backup at or before 2026-03-01-00-00-00" in err
    assert output.read_bytes() == vault.source


@pytest.mark.parametrize("date", ["yesterday", "2026-13", "2026-02-30", "00" * 8])
def test_a_date_that_is_none(vault, run, date):
    backup(vault, run)
    status, out, err = run("-R", "-D", date)
    assert (status, out) == (1, "")
    assert "hint: write" in err


def test_repozo_recovers_to_standard_output(vault, tmp_path):
    vault.take()
    vault.commit(size=3_000_000)
    vault.take()
    code = "import sys; from collective.recipe.backup.repozo.command import main;"
    done = subprocess.run(
        [sys.executable, "-c", f"{code} sys.exit(main(sys.argv[1:]))", "-R", "-r", vault.directory],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
    )
    assert done.stdout == vault.source
    assert done.stderr == b""


def test_a_damaged_backup_leaves_what_is_there(vault, run, tmp_path):
    vault.take()
    part = vault.chain.path(vault.chain.last)
    part.write_bytes(part.read_bytes()[:-20])
    shutil.copy(vault.site.filestorage, tmp_path / "Data.fs")
    shutil.copy(vault.site.filestorage.with_name("Data.fs.index"), tmp_path / "Data.fs.index")
    before = {path.name: path.read_bytes() for path in tmp_path.glob("Data.fs*")}
    status, _out, err = run("-R", "-o", tmp_path / "Data.fs")
    assert status == 1
    assert part.name in err
    after = {path.name: path.read_bytes() for path in tmp_path.glob("Data.fs*")}
    after.pop("Data.fs.lock")
    assert after == before
    status, _out, err = run("-V")
    assert status == 1
    assert part.name in err


@pytest.mark.parametrize("damage", ["first", "last"])
def test_nothing_older_is_recovered_in_silence(vault, run, tmp_path, damage):
    """Where a ledger cannot be read the newest backup is none that anybody sees."""
    backup(vault, run)
    older, good = vault.source, vault.chain.stamp
    vault.site.commit({"key": "second"})
    backup(vault, run, *(["-F"] if damage == "first" else []))
    vault.chain.ledger.write_bytes(vault.chain.ledger.read_bytes()[:-2] + b"?\n")
    output = tmp_path / "Data.fs"
    status, _out, err = run("-R", "-o", output)
    assert status == 1
    assert "cannot be read" in err or "names no full backup" in err
    assert f"--date {good}" in err
    assert not output.exists()
    status, _out, err = run("-R", "-D", good, "-o", output)
    assert (status, err) == (0, "")
    assert output.read_bytes() == older


def test_a_newer_file_that_no_ledger_names_is_told_of(vault, run, tmp_path):
    backup(vault, run)
    (vault.directory / "2999-01-01-00-00-00.deltafs").write_bytes(b"of a run that died")
    output = tmp_path / "Data.fs"
    status, _out, err = run("-R", "-o", output)
    assert status == 0
    assert "2999-01-01-00-00-00.deltafs" in err
    assert output.read_bytes() == vault.source


def test_an_index_of_what_was_there_before_does_not_stay(vault, run, tmp_path):
    vault.take()
    for index in vault.directory.glob("*.index"):
        index.unlink()
    (tmp_path / "Data.fs.index").write_bytes(b"of something else")
    assert run("-R", "-o", tmp_path / "Data.fs") == (0, "", "")
    assert not (tmp_path / "Data.fs.index").exists()


def test_an_open_filestorage_is_not_replaced(vault, run):
    vault.take()
    vault.commit()
    source = vault.source
    with closed_filestorage(vault.site.filestorage):
        status, _out, err = run("-R", "-o", vault.site.filestorage)
    assert status == 1
    assert "open" in err
    assert vault.source == source


def test_a_link_is_followed_and_the_mode_stays(vault, run, tmp_path):
    vault.take()
    target = tmp_path / "elsewhere.fs"
    target.write_bytes(b"old")
    target.chmod(0o640)
    (tmp_path / "Data.fs").symlink_to(target)
    assert run("-R", "-o", tmp_path / "Data.fs") == (0, "", "")
    assert target.read_bytes() == vault.source
    assert target.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "Data.fs").is_symlink()


def test_one_run_at_a_time(vault, run):
    with one_writer(vault.directory, "the first"):
        status, _out, err = run("-B", "-f", vault.site.filestorage)
    assert status == 1
    assert "the first" in err
    assert data_files(vault) == []


def test_verify_names_all_problems(vault, run):
    for full in (True, False, True):
        vault.commit()
        vault.take(full=full)
    old, new = vault.chains
    old.path(old.parts[1]).unlink()
    path = new.path(new.parts[0])
    data = bytearray(path.read_bytes())
    data[-30] ^= 1
    path.write_bytes(data)
    status, _out, err = run("-V")
    assert status == 1
    assert old.parts[1].name in err
    assert new.parts[0].name in err
    status, _out, err = run("-V", "-Q")
    assert status == 1
    assert new.parts[0].name not in err


@pytest.mark.parametrize("mode", ["-R", "-V"])
def test_repozo_says_that_a_directory_holds_no_backup(run, mode):
    status, out, err = run(mode)
    assert (status, out) == (1, "")
    assert "holds no backup" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one of --backup, --recover and --verify"),
        (["-B"], "--repository is needed"),
        (["-B", "-R", "-r", "."], "not allowed with"),
        (["-B", "-r", "."], "--file is needed"),
        (["-V", "-r", ".", "more"], "unrecognized arguments: more"),
        (["-V", "-r", ".", "--unknown"], "--unknown"),
        (["-V", "-r", "missing"], "no such repository: missing"),
        (["-V", "-r"], "expected one argument"),
    ],
)
def test_a_command_line_that_cannot_be_understood(arguments, message, capsys):
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_every_option_of_repozo(option, capsys):
    assert main([option]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    theirs = set(re.findall(r"(?<![\w-])--?[A-Za-z][a-z-]*", repozo.__doc__)) - {"--help"}
    assert len(theirs) > 20
    assert {name for name in theirs if f"{name}" not in out} == set()
