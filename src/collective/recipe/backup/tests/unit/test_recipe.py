"""The recipe, in a buildout that runs inside of the test."""

from __future__ import annotations

import ast
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import zc.buildout

from collective.recipe.backup import Recipe
from collective.recipe.backup.cli.verbs import VERBS
from collective.recipe.backup.config import load
from collective.recipe.backup.model import Source
from collective.recipe.backup.options import declarations
from collective.recipe.backup.recipe import NAMES_OF_BUILDOUT, SCRIPTS
from collective.recipe.backup.tests.buildout import Buildout


@pytest.fixture
def buildout(tmp_path, monkeypatch):
    return buildout_in(tmp_path / "site", monkeypatch)


def buildout_in(directory, monkeypatch):
    directory.mkdir()
    monkeypatch.chdir(directory)
    # a buildout sets up a handler each time
    monkeypatch.setattr(logging.getLogger("zc.buildout"), "handlers", [])
    return Buildout()


def problems(buildout, /, **settings):
    with pytest.raises(zc.buildout.UserError) as caught:
        buildout.make(**settings)
    return re.findall(r"^  - (.*)$", str(caught.value), re.MULTILINE)


def main_source(recipe):
    return recipe.config.sources[-1]


# facts


def test_the_base_directory_is_the_parent_of_the_bin_directory(buildout, tmp_path):
    buildout.settings["bin-directory"] = str(tmp_path / "elsewhere" / "bin")
    recipe = buildout.make()
    assert main_source(recipe).filestorage == tmp_path / "elsewhere/var/filestorage/Data.fs"


@pytest.mark.parametrize(
    "name",
    [
        "plone.recipe.zeoserver",
        "plone.recipe.zope2instance",
        "plone.recipe.zope2zeoserver",
        "Plone.Recipe.ZEOServer",
    ],
)
def test_the_site_is_found_in_zope_parts(buildout, name):
    zope = {"recipe": name, "file-storage": "/zeo/Site.fs", "blob-storage": "/zeo/blobs"}
    buildout.add("zeo", zope)
    recipe = buildout.make(backup_blobs="true")
    assert main_source(recipe) == Source(
        name="1", filestorage=Path("/zeo/Site.fs"), blobstorage=Path("/zeo/blobs")
    )


@pytest.mark.parametrize("recipe", ["plone.recipe.haproxy", "plone.recipe.zeoserver[zrs]", ""])
def test_other_parts_are_no_zope_parts(buildout, recipe):
    buildout.add("other", {"recipe": recipe, "file-storage": "/zeo/Site.fs", "var": "/zeo"})
    [problem] = problems(buildout, backup_blobs="true")
    assert "there is no blobstorage" in problem
    assert main_source(buildout.make("second")).filestorage.parts[-3] == "var"


def test_a_zope_section_that_is_not_a_part_does_not_count(buildout):
    buildout.buildout["zeo"] = {"recipe": "plone.recipe.zeoserver", "file-storage": "/zeo/S.fs"}
    assert main_source(buildout.make()).filestorage == buildout.base / "var/filestorage/Data.fs"


def test_each_fact_comes_from_the_first_zope_part_that_has_it(buildout):
    zope = "plone.recipe.zope2instance"
    buildout.add("one", {"recipe": zope, "var": "/var1", "file-storage": ""})
    buildout.add("two", {"recipe": zope, "var": "/var2", "file-storage": "/two/Data.fs"})
    recipe = buildout.make(backup_blobs="true")
    assert main_source(recipe).filestorage == Path("/two/Data.fs")
    assert main_source(recipe).blobstorage == Path("/var1/blobstorage")
    assert recipe.config.options.location == Path("/var1/backups")


def test_zeo_var_of_any_zope_part_wins_over_var(buildout):
    buildout.add("one", {"recipe": "plone.recipe.zope2instance", "var": "/var1"})
    buildout.add("two", {"recipe": "plone.recipe.zeoserver", "zeo-var": "/var2"})
    assert buildout.make().config.options.location == Path("/var2/backups")


def test_zope_parts_may_come_later_in_the_list_of_parts(buildout):
    buildout.settings["parts"] = " backup zeo"
    buildout.buildout["zeo"] = {"recipe": "plone.recipe.zeoserver", "file-storage": "/zeo/S.fs"}
    section = {"recipe": "collective.recipe.backup", "backup_blobs": "no"}
    buildout.buildout["backup"] = section
    recipe = Recipe(buildout.buildout, "backup", buildout.buildout["backup"])
    assert main_source(recipe).filestorage == Path("/zeo/S.fs")


@pytest.mark.parametrize(
    "section",
    [
        {"<": "macro"},
        {"<": "macro", "recipe": "plone.recipe.zeoserver"},
        {"recipe": "${macro:recipe}", "file-storage": "${macro:file-storage}"},
    ],
)
def test_a_zope_part_is_found_whose_section_refers_to_another(buildout, section):
    buildout.buildout["macro"] = {
        "recipe": "plone.recipe.zeoserver",
        "file-storage": "/zeo/Site.fs",
    }
    buildout.add("zeo", section)
    assert main_source(buildout.make()).filestorage == Path("/zeo/Site.fs")


def test_the_blob_cache_of_a_client_is_passed_over(buildout):
    zope = "plone.recipe.zope2instance"
    client = {"recipe": zope, "zeo-client": "true", "blob-storage": "/var/blobcache"}
    buildout.add("client", client)
    assert main_source(buildout.make("one", backup_blobs="true")).blobstorage == (
        buildout.base / "var" / "blobstorage"
    )
    buildout.add("no", {**client, "shared-blob": "off", "blob-storage": "/var/no"})
    buildout.add("yes", {**client, "shared-blob": "on", "blob-storage": "/var/yes"})
    buildout.add("zeo", {"recipe": "plone.recipe.zeoserver", "blob-storage": "/var/zeo"})
    assert main_source(buildout.make("two", backup_blobs="true")).blobstorage == Path("/var/yes")


def test_the_caches_of_clients_are_noted(buildout):
    client = {"recipe": "plone.recipe.zope2instance", "zeo-client": "on", "zeo-client-client": "c"}
    buildout.add("one", {**client, "zeo-var": "/srv/var"})
    buildout.add("two", client)
    buildout.add("three", {**client, "zeo-client-client": ""})
    recipe = buildout.make()
    assert recipe.config.caches == (Path("/srv/var/c-1.zec"), buildout.base / "var" / "c-1.zec")
    buildout.install(recipe)
    assert load(recipe.config_path) == recipe.config


RELSTORAGE = {"rel-storage": "type postgresql\n dbname site"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (RELSTORAGE, "keeps its data in an SQL database (rel-storage)"),
        (
            {"zeo-client": "on", "zeo-address": "10.11.12.13:8100"},
            "has its data from the ZEO server 10.11.12.13:8100",
        ),
        (
            {"zeo-client": "on", "zeo-address": "zeo.example.com:8100"},
            "has its data from the ZEO server zeo.example.com:8100",
        ),
        ({"demo-storage": "on"}, "is a demo, whose changes are meant to be lost"),
    ],
)
def test_a_site_whose_data_is_elsewhere_is_doubted(buildout, caplog, options, said):
    buildout.add("instance", {"recipe": "plone.recipe.zope2instance", **options})
    recipe = buildout.make()
    [doubt] = recipe.config.doubts
    assert doubt.startswith(f"part instance {said}")
    assert doubt in [record.getMessage() for record in caplog.records]
    buildout.install(recipe)
    assert load(recipe.config_path).doubts == (doubt,)


@pytest.mark.parametrize(
    "settings", [{"datafs": "my/Data.fs"}, {"only_blobs": "true", "backup_blobs": "true"}]
)
def test_a_site_whose_user_says_what_is_meant_is_not_doubted(buildout, settings):
    buildout.add("instance", {"recipe": "plone.recipe.zope2instance", **RELSTORAGE})
    assert buildout.make(**settings).config.doubts == ()


@pytest.mark.parametrize(
    "other",
    [
        {"recipe": "plone.recipe.zeoserver"},
        {"recipe": "plone.recipe.zope2instance"},
        {"recipe": "plone.recipe.zope2instance", "zeo-client": "on"},
        {"recipe": "plone.recipe.zope2instance", "zeo-client": "on", "zeo-address": "8100"},
        {
            "recipe": "plone.recipe.zope2instance",
            "zeo-client": "on",
            "zeo-address": "10.11.12.13:8100 127.0.0.1:8100",
        },
        {"recipe": "plone.recipe.zope2instance", "zeo-client": "on", "zeo-address": "/zeo.sock"},
    ],
)
def test_a_site_with_one_part_that_may_have_its_data_here_is_not_doubted(buildout, other):
    buildout.add("instance", {"recipe": "plone.recipe.zope2instance", **RELSTORAGE})
    buildout.add("other", other)
    assert buildout.make().config.doubts == ()


# what other parts can read


def test_a_part_that_is_no_zope_part_can_refer_to_what_is_derived(buildout, monkeypatch):
    """Nobody may look at it before everything is there."""
    options = type(buildout.settings)
    made = []
    monkeypatch.setattr(options, "initialize", lambda self: made.append(self.name))
    buildout.buildout._raw["cron"] = {"recipe": "x", "copy": "${backup:location}"}
    buildout.settings["parts"] = "cron "
    buildout.make()
    assert made == ["backup"]
    assert buildout.buildout["cron"]["copy"] == str(buildout.base / "var" / "backups")


def test_derived_values_are_written_back(buildout):
    buildout.add("zeo", {"recipe": "plone.recipe.zeoserver", "var": "/zeo"})
    options = buildout.make(backup_blobs="true", snapshotlocation="snaps", keep="5").options
    assert {name: options[name] for name in options if "location" in name} == {
        "locationprefix": "/zeo",
        "location": "/zeo/backups",
        "blobbackuplocation": "/zeo/blobstoragebackups",
        "snapshotlocation": "/zeo/snaps",
        "blobsnapshotlocation": "/zeo/blobstoragesnapshots",
        "ziplocation": "/zeo/zipbackups",
        "blobziplocation": "/zeo/blobstoragezips",
    }
    assert options["datafs"] == "/zeo/filestorage/Data.fs"
    assert options["blob_storage"] == "/zeo/blobstorage"
    assert (options["keep"], options["full"], options["repozo"]) == ("5", "false", "")
    assert set(declarations()) <= set(options)


def test_both_spellings_of_the_blob_storage_can_be_read(buildout):
    options = buildout.make(**{"blob-storage": "blobs", "backup_blobs": "true"}).options
    assert options["blob-storage"] == options["blob_storage"] == str(buildout.base / "blobs")


def test_what_is_written_back_means_the_same_when_it_is_read_again(buildout):
    buildout.add("zeo", {"recipe": "plone.recipe.zeoserver", "var": "/zeo"})
    first = buildout.make(pre_command="a\nb", location="x y")
    copy = {name: first.options[name] for name in first.options}
    assert Recipe(buildout.buildout, "backup", buildout.add("copy", copy)).config == first.config


# errors and warnings


def test_every_problem_is_named_in_one_user_error(buildout):
    with pytest.raises(zc.buildout.UserError) as caught:
        buildout.make(keep="abc", full="ture", kepe="3", location="snapshotbackups")
    assert str(caught.value).splitlines() == [
        "part backup cannot be used as it is configured",
        "  - full must be one of true, yes, on, 1, false, no, off, 0, not 'ture'",
        "  - keep must be a whole number, 0 or more, not 'abc'",
        "  - kepe is not an option; did you mean keep?",
        f"  - location ({buildout.base}/var/snapshotbackups) and "
        f"snapshotlocation ({buildout.base}/var/snapshotbackups) are the same directory",
    ]


def test_an_alias_of_a_grid_is_a_repository(buildout):
    recipe = buildout.make(repository="far tahoe:site")
    assert recipe.config.options.repository == ("far tahoe:site",)


def test_a_capability_is_refused_since_buildout_writes_it_into_files(buildout):
    secret = f"{'q' * 26}:{'s' * 52}"
    [said] = problems(buildout, repository=f"far tahoe:URI:DIR2:{secret}")
    assert "lets all who read it in" in said
    assert "tahoe add-alias" in said
    assert secret not in said


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"blob_storage": "a", "blob-storage": "b"}, "two spellings of one option, but differ"),
        ({"location": "a", "ziplocation": "a"}, "are the same directory"),
        ({"only_blobs": "true"}, "backup_blobs = false and only_blobs = true"),
        ({"enable_zipbackup": "true"}, "enable_zipbackup needs the blobs"),
        (
            {"archive_blob": "on", "incremental_blobs": "on", "blob_timestamps": "off"},
            "incremental_blobs needs time stamps",
        ),
        ({"backup_blobs": "true"}, "there is no blobstorage"),
        ({"alternative_restore_source": "Data /a\nData /b"}, "has a line already"),
        ({"alternative_restore_source": "Foo /a"}, "Foo is no storage of this site"),
        ({"alternative_restore_source": "Data"}, "directory of the filestorage backups is missing"),
        ({"alternative_restore_source": "Data /a /b"}, "but the storage has no blobs"),
        (
            {"alternative_restore_source": "Data /a", "blob_storage": "/blobs"},
            "the directory of the blob backups is missing",
        ),
    ],
)
def test_user_errors_of_the_older_releases(buildout, settings, said):
    assert [problem for problem in problems(buildout, **settings) if said in problem]


def test_nothing_is_written_if_anything_is_wrong(buildout):
    before = sorted(buildout.base.rglob("*"))
    problems(buildout, keep="abc")
    assert sorted(buildout.base.rglob("*")) == before


@pytest.mark.parametrize("name", ["new\nline", "back\rthen", "\udcff", "$HOME"])
def test_a_directory_that_buildout_cannot_cope_with_is_refused(tmp_path, monkeypatch, name):
    directory = tmp_path / name
    buildout = buildout_in(directory, monkeypatch)
    before = sorted(directory.rglob("*"))
    assert "director" in problems(buildout)[0]
    assert sorted(directory.rglob("*")) == before


def test_a_python_that_no_script_can_start_with_is_refused(buildout, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/my env/bin/python")
    [problem] = problems(buildout)
    assert "no script can start with it: /my env/bin/python" in problem


def test_warnings_are_logged_under_the_name_of_the_part(buildout, caplog):
    buildout.make("nightly", mine="1", alternative_restore_sources="")
    said = [(record.name, record.levelname, record.message) for record in caplog.records]
    assert (
        "nightly",
        "WARNING",
        "alternative_restore_sources is an old name: write alternative_restore_source",
    ) in said
    assert [message for _, _, message in said if message.startswith("mine is not an option")]
    assert len(said) == 2


def test_names_that_buildout_uses_are_no_surprise(buildout, caplog):
    plain = {name: "" for name in NAMES_OF_BUILDOUT if not name.startswith("<")}
    buildout.make(**{**plain, "relative-paths": "false", "recipe": "collective.recipe.backup"})
    assert caplog.records == []


# scripts


def calls(paths):
    """Return what the scripts among *paths* pass to ``cli.main``, by name of the script."""
    found = {}
    for path in map(Path, paths):
        if not path.is_file():
            continue
        tree = ast.parse(path.read_bytes())
        [call] = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".cli.main")
        ]
        assert ast.unparse(call.func) == "collective.recipe.backup.cli.main"
        found[path.name] = [ast.unparse(argument) for argument in call.args]
    return found


ALWAYS = {
    "backup": ("backup", "standard"),
    "snapshotbackup": ("backup", "snapshot"),
    "restore": ("restore", "standard"),
    "snapshotrestore": ("restore", "snapshot"),
    "backup-list": ("list", "standard"),
    "backup-log": ("log", "standard"),
    "backup-objects": ("objects", "standard"),
    "backup-diff": ("diff", "standard"),
    "backup-extract": ("extract", "standard"),
    "backup-undelete": ("undelete", "standard"),
    "backup-open": ("open", "standard"),
    "backup-browse": ("browse", "standard"),
    "backup-export": ("export", "standard"),
    "backup-verify": ("verify", "standard"),
    "backup-rehearse": ("rehearse", "standard"),
    "backup-prune": ("prune", "standard"),
    "backup-status": ("status", "standard"),
    "backup-report": ("report", "standard"),
    "backup-doctor": ("doctor", "standard"),
}
OF_P = {
    "P": ("backup", "standard"),
    "P-snapshot": ("backup", "snapshot"),
    "P-restore": ("restore", "standard"),
    "P-snapshotrestore": ("restore", "snapshot"),
    "P-list": ("list", "standard"),
    "P-log": ("log", "standard"),
    "P-objects": ("objects", "standard"),
    "P-diff": ("diff", "standard"),
    "P-extract": ("extract", "standard"),
    "P-undelete": ("undelete", "standard"),
    "P-open": ("open", "standard"),
    "P-browse": ("browse", "standard"),
    "P-export": ("export", "standard"),
    "P-verify": ("verify", "standard"),
    "P-rehearse": ("rehearse", "standard"),
    "P-prune": ("prune", "standard"),
    "P-status": ("status", "standard"),
    "P-report": ("report", "standard"),
    "P-doctor": ("doctor", "standard"),
}


@pytest.mark.parametrize(("part", "expected"), [("backup", ALWAYS), ("P", OF_P)])
def test_the_scripts_of_a_part(buildout, part, expected):
    paths = buildout.install(buildout.make(part))
    path = str(buildout.base / "parts" / part / "config.json")
    assert calls(paths) == {
        name: [repr(verb), repr(destination), repr(path)]
        for name, (verb, destination) in expected.items()
    }
    assert sorted(each.name for each in buildout.bin.iterdir()) == sorted(expected)
    assert all(os.access(each, os.X_OK) for each in buildout.bin.iterdir())


@pytest.mark.parametrize(
    ("part", "name"), [("backup", "snapshotrestore"), ("P", "P-snapshotrestore")]
)
def test_snapshotrestore_can_be_switched_off(buildout, part, name):
    paths = buildout.install(buildout.make(part, enable_snapshotrestore="false"))
    assert name not in calls(paths)
    assert len(calls(paths)) == len(ALWAYS) - 1


@pytest.mark.parametrize(("part", "name"), [("backup", "fullbackup"), ("P", "P-full")])
def test_fullbackup_is_a_backup_with_a_flag(buildout, part, name):
    paths = buildout.install(buildout.make(part, enable_fullbackup="true"))
    verb, destination, _path, arguments = calls(paths)[name]
    assert (verb, destination) == ("'backup'", "'standard'")
    assert arguments == "[*('--full',), *sys.argv[1:]]"


@pytest.mark.parametrize(
    ("own_name", "name", "verb", "destination"),
    [
        ("zipbackup", "P-zip", "backup", "zip"),
        ("ziprestore", "P-ziprestore", "restore", "zip"),
        ("altrestore", "P-altrestore", "restore", "alternative"),
        ("backup-standby", "P-standby", "standby", "standard"),
    ],
)
def test_scripts_that_are_made_on_request(buildout, own_name, name, verb, destination):
    [script] = [script for script in SCRIPTS if script.own_name == own_name]
    assert (script.name("backup"), script.name("P")) == (own_name, name)
    assert (script.verb, script.destination) == (verb, destination)
    assert not script.is_wanted(buildout.make().config.options)


def test_repozo_is_made_on_request(buildout):
    buildout.install(buildout.make(enable_repozo="true"))

    script = buildout.bin / "repozo"
    assert "collective.recipe.backup.repozo.command.main(sys.argv[1:])" in script.read_text()
    assert subprocess.run([script, "--help"], check=False).returncode == 0


def test_every_script_has_a_verb_that_the_command_line_knows():
    assert {script.verb for script in SCRIPTS if script.verb} <= set(VERBS)


def test_update_does_the_same_as_install(buildout):
    recipe = buildout.make()
    first = buildout.install(recipe)
    contents = {path: Path(path).read_bytes() for path in first if Path(path).is_file()}
    for path in contents:
        Path(path).unlink()
    assert recipe.options._call(recipe.update) == first
    assert {path: Path(path).read_bytes() for path in contents} == contents


def test_the_scripts_find_the_configuration_that_was_resolved(buildout):
    recipe = buildout.make(keep="7", location="/mnt/a b")
    paths = buildout.install(recipe)
    assert paths[0] == str(buildout.base / "parts" / "backup")
    assert load(buildout.base / "parts/backup/config.json") == recipe.config


def test_what_a_killed_buildout_has_left_is_gone_after_the_next(buildout):
    recipe = buildout.make()
    left = recipe.config_path.with_name(f"{recipe.config_path.name}.0123abcd.partial")
    left.parent.mkdir(parents=True)
    left.touch()
    buildout.install(recipe)
    assert recipe.config_path.exists()
    assert not left.exists()


def test_what_was_made_is_taken_back_if_installing_fails(buildout):
    recipe = buildout.make()
    (buildout.bin / "restore").mkdir()
    with pytest.raises(OSError, match="restore"):
        buildout.install(recipe)
    assert not (buildout.base / "parts" / "backup").exists()
    assert not (buildout.bin / "backup").exists()


def test_no_directory_of_backups_is_made_or_removed(buildout):
    there = buildout.base / "var" / "backups"
    there.mkdir(parents=True)
    buildout.install(buildout.make())
    assert sorted((buildout.base / "var").rglob("*")) == [there]


@pytest.mark.parametrize(
    "name", ["a b", "it's", 'say "x"', "$(touch x)", "été", "back\\slash", "%s {x}", "tab\t", "a#b"]
)
def test_any_directory_ends_up_in_the_scripts_as_it_is(tmp_path, monkeypatch, name):
    directory = tmp_path / name
    buildout = buildout_in(directory, monkeypatch)
    paths = buildout.install(buildout.make(location="${buildout:directory}/my backups"))
    path = ast.literal_eval(calls(paths)["backup"][2])
    assert load(Path(path)).options.location == directory / "my backups"
    assert ascii(path) in (buildout.bin / "backup").read_text(encoding="utf-8")


def test_code_of_the_user_runs_before_the_script(buildout):
    buildout.install(buildout.make(initialization="import os"))
    script = (buildout.bin / "backup").read_text()
    assert script.index("\nimport os\n") < script.index("import collective.recipe.backup.cli")


def test_running_buildout_imports_no_zodb(tmp_path):
    code = f"""
import sys
sys.path[:] = {sys.path!r}
from collective.recipe.backup.tests.buildout import Buildout
buildout = Buildout()
buildout.install(buildout.make())
print(sorted({{"ZODB", "BTrees", "persistent", "isal", "blake3"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "[]"
    assert (tmp_path / "bin" / "backup").is_file()


# other parts


def test_parts_that_would_remove_each_others_blobs_are_refused(buildout):
    blobs = {"backup_blobs": "true", "blob_storage": "var/blobstorage"}
    shared = {"blobbackuplocation": "/srv/blobs", **blobs}
    buildout.install(buildout.make("daily", location="/srv/daily", **shared))
    weekly = buildout.make("weekly", location="/srv/weekly", **shared)

    with pytest.raises(zc.buildout.UserError, match="/srv/blobs holds the blobs of part daily"):
        buildout.install(weekly)


def test_parts_may_share_both_directories_or_none(buildout):
    blobs = {"backup_blobs": "true", "blob_storage": "var/blobstorage"}
    shared = {"location": "/srv/data", "blobbackuplocation": "/srv/blobs", **blobs}
    of_another_recipe = buildout.make("other").config_path
    of_another_recipe.parent.mkdir(parents=True)
    of_another_recipe.write_text("[]")

    for recipe in (
        buildout.make("one", **shared),
        buildout.make("two", **shared),
        buildout.make(**blobs),
        buildout.make("three", **blobs),
    ):
        buildout.install(recipe)
        buildout.install(recipe)
