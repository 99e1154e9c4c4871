"""The command sitebackup: the verbs of the scripts, without a buildout."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from collective.recipe.backup import __version__, locking
from collective.recipe.backup.cli.verbs import VERBS
from collective.recipe.backup.errors import DONE, ConfigurationError, Interrupted, InUse
from collective.recipe.backup.sitebackup import main
from collective.recipe.backup.sitebackup.commands import FREQUENT, commands
from collective.recipe.backup.sitebackup.settings import known_names
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.scripts import environment, wait_until

USAGE = ConfigurationError.exit_code
COMMAND = Path(sys.executable).with_name("sitebackup")
"""As it is installed."""


pytestmark = pytest.mark.usefixtures("command")


@pytest.fixture
def project(site: Site, monkeypatch) -> Site:
    """A site with a blob in the working directory, as buildout lays it out."""
    site.commit({"page": 1}, {"file": b"data"})
    monkeypatch.chdir(site.directory)
    return site


def started(*arguments: object, **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(COMMAND), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **more},
    )


# the verbs


def test_a_site_is_backed_up_lost_and_brought_back(project: Site, capfd) -> None:
    before = project.contents()
    assert main(["backup", "-q"]) == DONE
    assert "".join(capfd.readouterr()) == ""
    project.lose()
    project.blobstorage.mkdir()
    assert main(["restore", "-n"]) == DONE
    assert project.contents() == before


def test_a_variable_of_the_site_that_is_not_set_here_is_named(project: Site, capfd) -> None:
    """The script of the site sets it, and cron does not know of it."""
    (project.directory / "etc").mkdir()
    (project.directory / "etc" / "zope.conf").write_text("%include $(CONF)/more.conf\n")
    assert main(["backup"]) == USAGE
    said = capfd.readouterr().err
    assert "%include needs $(CONF), which is not defined" in said
    assert "hint: set the variable" in said


def test_a_location_of_the_command_line_starts_where_all_backups_lie(project: Site, capfd) -> None:
    assert main(["backup", "-q", "--location", "b"]) == DONE
    assert (project.directory / "var" / "b").is_dir()
    assert main(["backup", "--help"]) == DONE
    said = " ".join(capfd.readouterr().out.split())
    assert "a relative path starts where all directories of backups lie, by default in var" in said


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--every", "it takes more than 0 and less than 86,400 seconds, not 'abc'"),
        ("--max-requests", "a whole number, 20 or more, not 'abc'"),
    ],
)
def test_a_number_that_is_none_is_answered_with_what_is_taken(
    project: Site, capfd, flag: str, said: str
) -> None:
    assert main(["backup", "--follow", flag, "abc"]) == USAGE
    assert said in capfd.readouterr().err


@pytest.mark.parametrize("which", ["snapshot", "zip"])
def test_snapshots_and_zips_have_a_flag_of_the_verbs(project: Site, capfd, which: str) -> None:
    before = project.contents()
    assert main(["backup", f"--{which}"]) == DONE
    assert main(["list", "--json", "--of", which]) == DONE
    [storage] = json.loads(capfd.readouterr().out)["storages"]
    assert len(storage["restore_points"]) == 1
    assert (project.directory / "var" / f"{which}backups").exists() or which == "zip"
    project.commit({"page": 2}, {"file": b"other"})
    assert main(["restore", "-n", f"--{which}"]) == DONE
    assert project.contents() == before


def test_there_are_no_restore_points_of_what_was_not_backed_up(project: Site) -> None:
    assert main(["backup", "-q"]) == DONE
    assert main(["restore", "-n", "--snapshot"]) != DONE
    assert main(["restore", "-n", "--alternative"]) == USAGE


def test_a_filestorage_that_is_not_there_is_named_before_its_blobs(project: Site, capfd) -> None:
    assert main(["backup", "-q", "--datafs", "nowhere/Data.fs"]) == USAGE
    complaints = [line for line in capfd.readouterr().err.splitlines() if line[:4] == "  - "]
    assert complaints[0] == (
        f"  - there is no filestorage {project.directory}/nowhere/Data.fs: is datafs right?"
    )
    assert "there is no blobstorage" in complaints[1]


def test_a_filestorage_that_is_lost_is_named_before_its_blobs(project: Site, capfd) -> None:
    blobs = project.directory / "elsewhere"
    arguments = ["--datafs", "nowhere/Data.fs", "--blob-storage", str(blobs)]
    assert main(["backup", "-q", *arguments]) == 1
    said = capfd.readouterr().err.splitlines()[0]
    assert said.endswith(f"No such file or directory: {project.directory}/nowhere/Data.fs")
    assert not (project.directory / "backups").exists()


@pytest.mark.parametrize("words", [["backup"], ["list"], ["repository", "init", "--unencrypted"]])
def test_a_repository_in_the_live_blobs_is_refused_by_every_verb(
    project: Site, capfd, words: list[str]
) -> None:
    sets = ["--set", "location=none", "--set", "repository=inner var/blobstorage/r"]
    assert main([*words, *sets]) == USAGE
    said = capfd.readouterr().err
    assert "repository inner " in said
    assert " lies in blob_storage " in said
    assert "hint: " in said
    assert not (project.blobstorage / "r").exists()


def test_what_is_said_is_meant_for_this_door(project: Site, capfd) -> None:
    assert main(["backup", "-q"]) == DONE
    project.commit({"page": 2})
    assert main(["restore", "-qn"]) == DONE
    assert main(["status"]) in (DONE, 3)
    assert "(sitebackup restore --let-go removes it)" in capfd.readouterr().out
    main(["doctor", "-q"])
    assert "sitebackup restore --undo puts it back" in capfd.readouterr().out
    assert main(["backup", "-q", "--set", "pre_command=false"]) == 7
    for command in commands():
        assert main([command, "--help"]) == DONE
    out, err = capfd.readouterr()
    assert "buildout" not in out + err
    assert "bin/" not in (out + err).replace("bin/instance", "")  # that of Zope


def test_each_verb_is_a_command() -> None:
    assert list(commands()) == list(VERBS)


@pytest.mark.parametrize("command", list(VERBS))
def test_each_command_explains_itself(project: Site, capfd, command: str) -> None:
    assert main([command, "--help"]) == DONE
    said = capfd.readouterr().out
    assert said.startswith(f"usage: sitebackup {command} ")
    for flag in ("--config", "--set", "--quiet", *FREQUENT):
        assert flag in said


@pytest.mark.parametrize("command", ["list", "verify", "rehearse", "status", "doctor", "prune"])
def test_commands_answer_in_json(project: Site, capfd, command: str) -> None:
    assert main(["backup", "-q"]) == DONE
    assert main([command, "--json"]) == DONE
    assert json.loads(capfd.readouterr().out)["format"] == 1


def test_every_flag_sets_an_option() -> None:
    assert {option for option, _metavar, _words in FREQUENT.values()} <= known_names()


# where it comes from


def test_options_come_from_files_variables_and_flags(project: Site, monkeypatch, capfd) -> None:
    Path("sitebackup.toml").write_text('name = "mine"\nlocation = "filed"\n')
    assert main(["backup", "-q"]) == DONE
    assert Path("var/filed").is_dir()
    assert Path("var/mine-blobstorages").is_dir()
    monkeypatch.setenv("SITEBACKUP_LOCATION", "said")
    monkeypatch.setenv("SITEBACKUP_BLOBBACKUPLOCATION", "blobs-said")
    assert main(["backup", "-q"]) == DONE
    assert Path("var/said").is_dir()
    assert main(["backup", "-q", "--location", "typed", "--set", "blobbackuplocation=b"]) == DONE
    assert Path("var/typed").is_dir()
    assert Path("var/b").is_dir()


def test_all_that_is_wrong_is_said_at_once(project: Site, monkeypatch, capfd) -> None:
    Path("sitebackup.toml").write_text("kepe = 1\n")
    monkeypatch.setenv("SITEBACKUP_FUL", "1")
    assert main(["backup", "--set", "keep=many"]) == USAGE
    said = capfd.readouterr().err
    assert "sitebackup.toml: there is no option kepe; do you mean keep?" in said
    assert "there is no option ful; do you mean full?" in said
    assert "keep must be a whole number, 0 or more, not 'many'" in said
    assert said.splitlines()[-1].startswith("ERROR: hint: the settings come from: ")
    assert not Path("var/backups").exists()


def test_a_switch_that_is_none_is_refused_whoever_says_it(project: Site, monkeypatch) -> None:
    for name in ("SITEBACKUP_FULL", "COLLECTIVE_BACKUP_FULL"):
        monkeypatch.setenv(name, "nope")
        assert main(["list"]) == USAGE
        monkeypatch.delenv(name)


def test_notes_are_no_warnings(project: Site, monkeypatch, capfd) -> None:
    monkeypatch.setenv("COLLECTIVE_BACKUP_CRON", "0 3 * * *")
    assert main(["backup", "-q"]) == DONE
    assert "".join(capfd.readouterr()) == ""
    assert main(["backup"]) == DONE
    assert "INFO: COLLECTIVE_BACKUP_* of the environment: cron means" in capfd.readouterr().err


def test_several_storages_of_a_zeo_conf(project: Site, tmp_path: Path, capfd) -> None:
    other = Site(tmp_path / "other")
    Path("etc").mkdir()
    Path("etc/zeo.conf").write_text(
        f"<filestorage 1>\n  path {project.filestorage}\n  blob-dir {project.blobstorage}\n"
        f"</filestorage>\n<filestorage catalog>\n  path {other.filestorage}\n</filestorage>\n"
    )
    assert main(["backup", "-q"]) == DONE
    assert main(["list", "--json"]) == DONE
    storages = json.loads(capfd.readouterr().out)["storages"]
    assert [it["storage"] for it in storages] == ["catalog", "1"]
    assert Path("var/backups_catalog").is_dir()
    other.commit({"x": 1})
    assert main(["backup", "-q", "--set", f"additional_filestorages=mine {other.filestorage}"]) == 0
    assert Path("var/backups_mine").is_dir()


# what may be typed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "which command?"),
        (["bakup"], "do you mean backup?"),
        (["undo"], "that is sitebackup restore --undo"),
        (["bring-back"], "that is sitebackup undelete"),
        (["--config", "x", "backup"], "--config comes after a command"),
        (["backup", "--kepe", "3"], "do you mean --keep?"),
        (["backup", "now"], "too many arguments: 'now'"),
        (["backup", "--snapshot", "--zip"], "not allowed with argument"),
        (["backup", "--set", "keep"], "--set needs NAME=VALUE, not 'keep'"),
        (["backup", "--set", "=3"], "--set needs NAME=VALUE"),
        (["completion"], "which shell?"),
        (["completion", "csh"], "sitebackup completion bash|zsh|fish"),
    ],
)
def test_mistyped_commands_are_refused_with_a_hint(capfd, arguments: list[str], says: str) -> None:
    assert main(arguments) == USAGE
    assert says in capfd.readouterr().err


def test_a_store_is_tried_out_without_a_site(tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    store = tmp_path / "store"
    assert main(["check-store", str(store)]) == 6
    assert "check-store wants it made" in capfd.readouterr().err
    store.mkdir()
    assert main(["check-store", str(store)]) == DONE
    told = capfd.readouterr().out
    assert "it was asked to put 12 times" in told
    assert "requests in all" in told
    assert main(["check-store", str(store), "--json"]) == DONE
    assert json.loads(capfd.readouterr().out)["good"]
    assert list(store.iterdir()) == []
    assert main(["check-store", "--help"]) == DONE
    assert main(["check-store"]) == USAGE


def test_sitebackup_shows_its_help_and_its_version(capfd) -> None:
    for arguments in (["--help"], ["-h"], ["help"]):
        assert main(arguments) == DONE
        assert all(f"\n  {name} " in capfd.readouterr().out for name in ["backup"])
    assert main(["--version"]) == DONE
    assert capfd.readouterr().out == f"sitebackup {__version__}\n"


# locks


def test_the_lock_of_a_run_lies_beside_the_backups(project: Site, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    before = {*project.directory.rglob("*")}
    assert main(["backup", "-q", "--locationprefix", str(shelf)]) == DONE
    # the note of the disk of the backups must not lie on that disk
    note = project.filestorage.with_name("Data.fs.whereabouts.json")
    assert {*project.directory.rglob("*")} == {*before, note}
    assert sorted(path.name for path in shelf.iterdir()) == [
        ".sitebackup-backup",
        "backups",
        "blobstoragebackups",
    ]
    with locking.one_writer(shelf / ".sitebackup-backup", "another"):
        assert main(["backup", "-q", "--locationprefix", str(shelf)]) == InUse.exit_code


def test_backups_may_lie_in_the_prefix_itself(project: Site, capfd) -> None:
    """But not around the site that they are of."""
    var = project.directory / "var"
    assert main(["backup", "-q", "--location", str(var / "b" / "..")]) == USAGE
    assert "backups need a directory of their own" in capfd.readouterr().err
    arguments = ["--locationprefix", "shelf", "--location", str(project.directory / "shelf")]
    assert main(["backup", "-q", *arguments, "--set", "blobbackuplocation=b"]) == DONE
    assert list(Path("shelf").glob("*.fsz"))
    assert list(Path("shelf/b").glob("blobstorage.*"))


def test_verbs_that_only_look_write_nothing(project: Site) -> None:
    before = sorted(project.directory.rglob("*"))
    for command in ("list", "status", "doctor", "verify", "rehearse"):
        main([command, "-q"])
    assert sorted(project.directory.rglob("*")) == before


def test_backups_where_the_lock_lies_are_refused(project: Site, capfd) -> None:
    assert main(["list", "--location", ".sitebackup-backup"]) == USAGE
    assert "the lock of the runs lies there" in capfd.readouterr().err


# the process


def test_sitebackup_imports_neither_buildout_nor_zodb(project: Site) -> None:
    script = (
        "import sys; from collective.recipe.backup.sitebackup import main; main(['backup'])\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "blake3" in done.stdout.split()
    unwanted = {"ZODB", "zc.buildout", "zc.recipe.egg", "ZConfig", "shtab"}
    assert not unwanted & set(done.stdout.split())


def test_a_polite_end_takes_back_what_is_half_done(project: Site, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    process = started("backup", "--set", f"pre_command=touch {ready}; exec sleep 60")
    wait_until(ready.exists, "the hook does not start")
    process.send_signal(signal.SIGTERM)
    _out, said = process.communicate(timeout=60)
    assert process.returncode == Interrupted.exit_code
    assert "ERROR: ended by SIGTERM" in said
    assert main(["backup", "-q"]) == DONE


def test_following_ends_well_when_asked_to(project: Site) -> None:
    process = started("backup", "--follow", "--every", "0.1")
    place = project.directory / "var" / "backups"
    wait_until(lambda: list(place.glob("*.json")), "there is no restore point")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == DONE
    process.communicate()


# a container


@pytest.mark.needs("unshare")
def test_a_user_without_name_home_terminal_or_right_to_write_the_site(
    site: Site, tmp_path: Path
) -> None:
    """As another user: in a container, one that has nothing but a number."""
    site.commit({"page": 1}, {"file": b"data"})
    before = site.contents()
    shelf, copy, closed = tmp_path / "shelf", tmp_path / "copy", tmp_path / "closed"
    for directory in (shelf, copy, closed):
        directory.mkdir()
    for path in [site.directory, *site.directory.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    variables = {
        "PATH": "/usr/bin:/bin",
        "SITEBACKUP_VAR_DIR": str(site.directory / "var"),
        "SITEBACKUP_LOCATIONPREFIX": str(shelf),
        "PYTHONPATH": environment()["PYTHONPATH"],
    }

    def run(*arguments: str) -> tuple[str, str]:
        closed.chmod(0o700)
        done = subprocess.run(
            [
                *("unshare", "--user", "--map-user=12345", "--map-group=12345", "--"),
                *("sh", "-c", 'chmod 0 . && exec "$@"', "sh", COMMAND, *arguments),
            ],
            env=variables,
            cwd=closed,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == DONE, done.stderr
        return done.stdout, done.stderr

    try:
        probe = ["unshare", "--user", "--map-user=12345", "--map-group=12345", "true"]
        if subprocess.run(probe, capture_output=True, check=False).returncode:
            pytest.skip("unshare for users (of a kernel that allows it) is not installed")
        assert "problem" not in run("doctor")[0]
        assert run("backup")[1].startswith("INFO: backing up ")
        assert run("backup", "-q") == ("", "")
        assert len(json.loads(run("list", "--json")[0])["storages"]) == 1
        run("verify", "-q")
        run("rehearse", "-q")
        run("status", "-q")
        run("restore", "-q", "-n", "--to", str(copy / "site"))
    finally:
        closed.chmod(0o700)
        for path in [site.directory, *site.directory.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert site.contents() == before
    assert sorted(it.name for it in (copy / "site").iterdir()) != []


def test_the_working_directory_may_be_gone(site: Site, tmp_path: Path, monkeypatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    site.commit({"page": 1}, {"file": b"data"})
    assert main(["backup", "-q", "--datafs", str(site.filestorage)]) == DONE
    assert (site.directory / "var" / "blobstoragebackups").is_dir()
