"""The places of one site's backups side by side: directories, repositories, or these alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import timedelta

import pytest

from collective.recipe.backup import history
from collective.recipe.backup.chronology import Clock
from collective.recipe.backup.config import STANDARD
from collective.recipe.backup.destinations.configured import named
from collective.recipe.backup.destinations.repository.backingup import RepositoryBackup
from collective.recipe.backup.destinations.repository.place import RepositoryPlace
from collective.recipe.backup.errors import (
    DONE,
    ConfigurationError,
    IntegrityError,
    NoRestorePoint,
    StoreUnreachable,
)
from collective.recipe.backup.files import Files
from collective.recipe.backup.jsonfile import Form
from collective.recipe.backup.model import Source
from collective.recipe.backup.operations.backup import back_up
from collective.recipe.backup.operations.prune import plan, prune
from collective.recipe.backup.operations.repositorycare import make
from collective.recipe.backup.repository import slots
from collective.recipe.backup.repository.newrepository import init
from collective.recipe.backup.repository.opened import Client, open_repository
from collective.recipe.backup.sitebackup import main
from collective.recipe.backup.stores.opening import store_at
from collective.recipe.backup.tests.runs import Operated
from collective.recipe.backup.tests.samples import Site, contents_of
from collective.recipe.backup.times import utcnow

PASSPHRASE = "correct horse battery"
WRONG, AWAY, BAD, NONE = (
    kind.exit_code
    for kind in (ConfigurationError, StoreUnreachable, IntegrityError, NoRestorePoint)
)


@pytest.fixture(autouse=True)
def _passphrase(command, monkeypatch):
    monkeypatch.setenv("SITEBACKUP_PASSPHRASE", PASSPHRASE)
    monkeypatch.setattr(slots, "_ARGON2", {"passes": 1, "memory": 64, "lanes": 1})


@pytest.fixture
def site(tmp_path, monkeypatch):
    site = Site(tmp_path / "plone")
    site.commit({"page": 1}, {"file": b"data"})
    monkeypatch.chdir(site.directory)
    return site


def configure(site, **settings):
    where = {"datafs": "var/filestorage/Data.fs", "blob_storage": "var/blobstorage"}
    lines = [f"{name} = {json.dumps(value)}" for name, value in (where | settings).items()]
    (site.directory / "sitebackup.toml").write_text("\n".join(lines) + "\n")


def made(site, tmp_path, *names, **settings):
    """Configure repositories called *names*, and make them."""
    lines = "\n".join(f"{name} {tmp_path / name}" for name in names)
    configure(site, repository=lines, **settings)
    for name in names:
        assert main(["repository", "init", name, "-q"]) == DONE


def said(capfd, *arguments, code=DONE):
    """Run a command that ends with *code*; return what it said."""
    capfd.readouterr()
    assert main([*arguments]) == code
    return capfd.readouterr()


def answer(capfd, *arguments, code=DONE):
    return json.loads(said(capfd, *arguments, "--json", code=code).out)


def points_in(document):
    return [each["stamp"] for each in document["storages"][0]["restore_points"]]


def test_a_site_without_directories_is_backed_up_to_its_repository_alone(site, tmp_path, capfd):
    made(site, tmp_path, "far", location="none")
    expected = site.contents()
    assert main(["backup", "-q"]) == DONE
    assert {each.name for each in (site.directory / "var").iterdir()} == {
        ".sitebackup-backup",
        "backup-repositories",
        "blobstorage",
        "filestorage",
    }
    [stamp] = points_in(answer(capfd, "list"))
    for verb in (["verify", "--depth", "records"], ["rehearse"], ["prune"], ["status"], ["report"]):
        assert main([*verb, "-q"]) == DONE
    assert "a problem" not in said(capfd, "doctor").out
    runs = history.read(site.directory / "var" / "backup-repositories")
    assert [run.verb for run in runs] == ["backup", "verify", "rehearse", "prune"]
    site.commit({"page": "spoilt"})
    assert main(["restore", "-qn", stamp]) == DONE
    assert site.contents() == expected


def test_a_site_without_directories_has_neither_snapshots_nor_zip_backups(site, tmp_path, capfd):
    made(site, tmp_path, "far", location="none")
    for flag in ("--snapshot", "--zip"):
        told = said(capfd, "backup", flag, code=WRONG).err
        assert "no place for" in told
        assert "there is one for standard; with location = none" in told
        assert "in a repository each backup is a full one" in told
    configure(site, location="none")
    assert "set repository as well" in said(capfd, "list", code=WRONG).err


def test_which_of_several_repositories_is_meant_must_be_said(site, tmp_path, capfd):
    made(site, tmp_path, "one", "two", location="none")
    assert main(["backup", "-q"]) == DONE
    told = said(capfd, "restore", "-n", code=WRONG).err
    assert "add --from and one of these names: one, two" in told
    shutil.rmtree(tmp_path / "one")
    assert main(["restore", "-qn", "--from", "two"]) == DONE


def test_all_places_are_listed_side_by_side_and_one_that_is_away_hides_no_other(
    site, tmp_path, capfd
):
    made(site, tmp_path, "near", "far")
    assert main(["backup", "-q"]) == DONE
    shutil.rmtree(tmp_path / "near")
    document = answer(capfd, "list", code=AWAY)
    [stamp] = points_in(document)
    places = document["places"]
    assert list(places) == ["directory", "near", "far"]
    assert points_in(places["directory"]) == [stamp]
    assert len(points_in(places["far"])) == 1
    assert places["near"]["storages"] == []
    assert places["near"]["error"]["kind"] == "StoreUnreachable"
    assert places["far"]["error"] is None
    told = said(capfd, "list", code=AWAY)
    for title in ("Directory /", "Repository near at /", "Repository far at /"):
        assert title in told.out
    assert "cannot be looked at: " in told.out
    assert "is the disk mounted" in told.err
    assert answer(capfd, "list", "--from", "near", code=AWAY)["error"]["exit_code"] == AWAY
    shutil.rmtree(site.directory / "var" / "backups")
    assert answer(capfd, "list", code=AWAY)["storages"][0]["restore_points"] == []


def test_the_status_of_all_places_is_as_bad_as_the_worst(site, tmp_path, capfd):
    made(site, tmp_path, "near", "far", max_age="1d", minimum_restore_points="1")
    assert main(["backup", "-q"]) == DONE
    assert said(capfd, "status").out.count("all is well") == 3
    assert "places" not in answer(capfd, "status", "--from", "far")
    for path in (tmp_path / "far" / "m").iterdir():
        path.unlink()
    shutil.move(tmp_path / "near", tmp_path / "gone")
    document = answer(capfd, "status", code=BAD)
    assert document["severity"] == "critical"
    places = {name: each["severity"] for name, each in document["places"].items()}
    assert places == {"directory": "ok", "near": "critical", "far": "critical"}
    told = said(capfd, "status", "--nagios", code=2).out
    assert told.startswith("BACKUP CRITICAL - near: the directory of the repository is not there")
    assert "far: there is no whole restore point" in told
    assert "'restore_points'=1;;1:;0" in told
    assert "'restore_points_far'=0;;1:;0" in told


def test_a_backup_that_failed_in_one_place_is_told_of_that_place_alone(site, tmp_path, capfd):
    made(site, tmp_path, "near", "far")
    shutil.move(tmp_path / "near", tmp_path / "gone")
    assert main(["backup", "-q"]) == AWAY
    [run] = history.read(site.directory / "var" / "backups")
    assert (run.destination, run.outcome, run.exit_code) == ("standard", "failed", AWAY)
    outcomes = {name: each.outcome for name, each in run.places.items()}
    assert outcomes == {"standard": "done", "near": "failed", "far": "done"}
    assert all(run.at(name).points for name in ("standard", "far"))
    shutil.move(tmp_path / "gone", tmp_path / "near")
    places = answer(capfd, "status", code=BAD)["places"]
    assert {name: each["severity"] for name, each in places.items()} == {
        "directory": "ok",
        "near": "critical",
        "far": "ok",
    }
    assert main(["backup", "-q", "--to", "near"]) == DONE
    assert answer(capfd, "status")["severity"] == "ok"


def test_a_backup_that_finds_nothing_new_makes_each_place_young(site, tmp_path, capfd):
    made(site, tmp_path, "far", max_age="1d")
    assert main(["backup", "-q"]) == DONE
    for number in range(2):
        assert main(["backup", "-q"]) == DONE
        directory, far = history.read(site.directory / "var" / "backups")[-1].places.values()
        assert directory.points
        assert far.points
        assert far.numbers == {"bytes": 0, "changed": 0}, number


def test_the_metrics_have_a_label_for_each_place(site, tmp_path):
    metrics = tmp_path / "metrics.prom"
    made(site, tmp_path, "near", "far", metrics_file=str(metrics))
    shutil.rmtree(tmp_path / "near")
    for run in (["backup"], ["status"], ["verify", "--from", "far"]):
        main([*run, "-q"])
        lines = metrics.read_text().splitlines()
        values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        assert len(values) == sum(not line.startswith("#") for line in lines)
        points = 'zodb_backup_restore_points{{part="backup",destination="{}",storage="1"}}'
        assert values[points.format("standard")] == values[points.format("far")] == "1"
        assert points.format("near") not in values
        critical = 'zodb_backup_findings{{part="backup",destination="{}",severity="critical"}}'
        assert int(values[critical.format("near")]) >= 1
        assert values[critical.format("standard")] == "0"
        code = 'zodb_backup_run_exit_code{{part="backup",verb="backup",destination="{}"}}'
        assert values[code.format("standard")] == "0"
        assert values[code.format("near")] == str(AWAY)
    before = metrics.read_text()
    main(["status", "-q", "--from", "far"])
    assert metrics.read_text() == before


def test_the_report_has_all_places_or_one(site, tmp_path, capfd):
    made(site, tmp_path, "near", "far")
    site.commit({"page": 2})
    assert main(["backup", "-q"]) == DONE
    shutil.rmtree(tmp_path / "near")
    page = said(capfd, "report", "-").out
    for title in ("Directory /", "Repository near at /", "Repository far at /"):
        assert page.count(title) == 1
    assert page.count("What can be restored") == 2
    assert page.count("Duration of backups") == 3
    assert "act now" in page
    assert "is the disk mounted" in page
    one = said(capfd, "report", "-", "--from", "far").out
    assert one.count("What can be restored") == 1
    assert "Repository far at /" in one
    assert "act now" not in one
    assert "cannot" not in one
    said(capfd, "report", "-", "--from", "near", code=AWAY)


FEW = {
    "location": "none",
    "repository_keep_within": "0h",
    "repository_keep_daily": 1,
    "repository_keep_hourly": 0,
    "repository_keep_weekly": 0,
    "repository_keep_monthly": 0,
}
"""Settings by which nearly all restore points of a day go."""


def operated_in(tmp_path):
    """Return the options of a site that is backed up to the repository called far."""
    url = f"far {tmp_path / 'far'}"
    return {"locationprefix": tmp_path, "repository": (url,), "site_name": "plone"}


def test_more_than_half_of_the_restore_points_go_only_by_a_yes(site, tmp_path, capfd):
    made(site, tmp_path, "far", location="none")
    operated = Operated(site, **operated_in(tmp_path))
    operated.now = utcnow() - timedelta(minutes=10)
    for number in range(6):
        site.commit({"page": number})
        operated.now += timedelta(minutes=1)
        back_up(replace(operated.run("backup"), name="far"))
    stamps = points_in(answer(capfd, "list"))
    configure(site, repository=f"far {tmp_path / 'far'}", **FEW)
    site.commit({"page": "the last"})
    told = said(capfd, "backup").err
    assert "that would remove 6 of 7 restore points of a site; nothing is removed" in told
    assert "say prune --yes" in told
    told = said(capfd, "prune", code=1).err
    assert "6 of 7" in told
    assert "say --yes" in told
    newest = points_in(answer(capfd, "list"))
    assert newest[:-1] == stamps
    assert main(["prune", "--yes", "-q"]) == DONE
    assert points_in(answer(capfd, "list")) == newest[-1:]


def test_what_a_hostile_client_dated_into_all_buckets_removes_nothing_real(site, tmp_path):
    operated = Operated(
        site,
        **operated_in(tmp_path),
        repository_keep_within=timedelta(0),
        repository_keep_daily=3,
        repository_keep_weekly=2,
        repository_keep_monthly=2,
    )
    make(operated.run("repository"), named(operated.config, STANDARD, "far"), encrypted=True)

    def run(verb):
        return replace(operated.run(verb), name="far")

    for number in range(8):
        operated.now += timedelta(days=1)
        site.commit({"page": number})
        back_up(run("backup"))
    [before] = plan(run("prune"))
    real = {made.point.stamp for made in before.plan.decisions if made.kept}
    assert len(real) > 2

    other = Site(tmp_path / "hostile")
    other.commit({"page": "bad"})
    source = Source(name="1", filestorage=other.filestorage, blobstorage=None)
    far = str(tmp_path / "far")
    place = RepositoryPlace(url=far, site="plone", state=tmp_path, ask=lambda: PASSPHRASE)
    client = Client(files=Files(), ask=place.ask)
    with open_repository(store_at(far, Files()), client) as repository:
        for number in range(60):
            clock = Clock(now=operated.now + timedelta(days=3 - number))
            RepositoryBackup(repository, source, place).outcome(
                clock, anew=True, accept_changed=False
            )
    site.commit({"page": "the next"})
    operated.now += timedelta(minutes=1)
    back_up(run("backup"))
    prune(run("prune"), yes=True)
    [destination] = run("list").destinations()
    left = {point.stamp for point in destination.restore_points()}
    assert real - left <= {max(real)}  # in whose place that of the next minute is
    assert len(left) > 60


def test_what_was_removed_is_brought_back(site, tmp_path, capfd):
    made(site, tmp_path, "far", location="none")
    operated = Operated(site, **operated_in(tmp_path))
    operated.now = utcnow() - timedelta(minutes=10)
    states = {}
    for number in range(3):
        site.commit({"page": number}, {"file": b"%d" % number})
        operated.now += timedelta(minutes=1)
        [outcome] = back_up(replace(operated.run("backup"), name="far"))
        states[outcome.point.stamp] = site.contents()
    assert "no restore point" in said(capfd, "repository", "undelete", "--list").out
    configure(site, repository=f"far {tmp_path / 'far'}", **FEW)
    assert main(["prune", "-q"]) == DONE
    first, second, newest = states
    removed = answer(capfd, "repository", "undelete", "--list")["removed"]
    assert [each["stamp"] for each in removed] == [first, second]
    assert second in said(capfd, "repository", "undelete", "--list").out

    told = said(capfd, "repository", "undelete", "--point", first).err
    assert f"brought back {first} of plone" in told
    assert "removes again what no rule keeps" in told
    assert points_in(answer(capfd, "list")) == [first, newest]
    assert main(["verify", "-q", "--depth", "records"]) == DONE
    to = tmp_path / "to"
    assert main(["restore", "-qn", first, "--to", str(to)]) == DONE
    assert contents_of(to / "Data.fs", to / "blobstorage") == states[first]
    told = said(capfd, "repository", "undelete", "--point", first, code=NONE).err
    assert "undelete --list" in told
    assert "add --list" in said(capfd, "repository", "undelete", code=WRONG).err


def test_a_store_that_was_set_back_on_purpose_is_accepted(site, tmp_path, capfd):
    made(site, tmp_path, "far", location="none")
    assert main(["backup", "-q"]) == DONE
    assert "is accepted as it is now" in said(capfd, "repository", "accept-rollback").err
    shutil.copytree(tmp_path / "far", tmp_path / "earlier")
    site.commit({"page": 2})
    assert main(["backup", "-q"]) == DONE
    shutil.rmtree(tmp_path / "far")
    (tmp_path / "earlier").rename(tmp_path / "far")
    told = said(capfd, "backup", code=BAD).err
    assert "gone back in time" in told
    assert "repository accept-rollback" in told
    assert answer(capfd, "repository", "accept-rollback")["accepted"] == str(tmp_path / "far")
    assert main(["backup", "-q"]) == DONE
    assert main(["verify", "-q", "--depth", "records"]) == DONE
    assert len(points_in(answer(capfd, "list"))) == 2


def uninitialised(bad):
    shutil.rmtree(bad)
    bad.mkdir()


def damaged_slot(bad):
    [slot] = (bad / "keys").iterdir()
    rewritten(slot, slot.read_bytes().replace(b'"label": "first"', b'"label": "third"'))


def of_a_later_release(bad):
    content = json.loads((bad / "format").read_bytes())
    later = {key: content[key] for key in content if key not in ("format", "check")}
    rewritten(bad / "format", Form(version=99).encode(later))


def another(bad):
    shutil.rmtree(bad)
    init(store_at(str(bad), Files()), PASSPHRASE, utcnow())


def rewritten(path, data):
    path.chmod(0o600)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "code", "what", "hint"),
    [
        (shutil.rmtree, AWAY, "is not there", "is the disk mounted"),
        (uninitialised, WRONG, "there is no repository", "made by init"),
        (lambda _bad: None, WRONG, "does not fit", "recovery sheet"),
        (damaged_slot, BAD, "none of the keys that can be read", "from a copy"),
        (of_a_later_release, WRONG, "of a later release", "update this program"),
        (another, WRONG, "another repository is in the place", "accept-rollback"),
    ],
)
def test_a_repository_that_fails_stops_no_other_and_all_who_watch_are_told(
    site, tmp_path, monkeypatch, capfd, spoil, code, what, hint
):
    seen = tmp_path / "seen"
    hooks = {
        name: f"env | grep ^BACKUP_ > '{seen}'" for name in ("post_command", "failure_command")
    }
    made(site, tmp_path, "bad", "good", **hooks)
    bad = tmp_path / "bad"
    if spoil is another:
        assert main(["backup", "-q", "--to", "bad"]) == DONE
    spoil(bad)
    if what == "does not fit":
        monkeypatch.setenv("SITEBACKUP_PASSPHRASE_BAD", "a wrong passphrase")

    told = said(capfd, "backup", code=code).err
    assert what in told
    assert hint in told
    environment = dict(line.split("=", 1) for line in seen.read_text().splitlines())
    assert environment["BACKUP_FAILED_PLACES"] == "bad"
    assert environment["BACKUP_EXIT_CODE"] == str(code)
    assert environment["BACKUP_RESTORE_POINT"]
    run = history.read(site.directory / "var" / "backups")[-1]
    assert run.exit_code == run.places["bad"].exit_code == code
    assert [run.places[name].outcome for name in ("standard", "good")] == ["done", "done"]
    document = answer(capfd, "list", code=code)["places"]
    assert len(points_in(document["directory"])) == len(points_in(document["good"])) == 1
    assert document["bad"]["error"]["exit_code"] == code
    places = answer(capfd, "status", code=BAD)["places"]
    severities = {name: each["severity"] for name, each in places.items()}
    assert severities == {"directory": "ok", "bad": "critical", "good": "ok"}
    assert main(["doctor"]) == BAD
    if spoil is another:
        assert main(["repository", "accept-rollback", "bad", "-q"]) == DONE
        assert main(["backup", "-q"]) == DONE
        assert answer(capfd, "status")["severity"] == "ok"
