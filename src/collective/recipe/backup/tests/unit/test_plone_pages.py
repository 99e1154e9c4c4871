"""Each configuration of the pages about Plone 6 backs up a site, as it stands there."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml

from collective.recipe.backup.cli.arguments import parse
from collective.recipe.backup.sitebackup import main
from collective.recipe.backup.sitebackup.commands import command as command_named
from collective.recipe.backup.tests.buildout import Buildout
from collective.recipe.backup.tests.house import PROJECT
from collective.recipe.backup.tests.samples import Site
from collective.recipe.backup.tests.test_narrative import code_blocks

HOWTO = PROJECT / "docs" / "howto"


def shown(page: str, caption: str) -> str:
    """Return the file called *caption* that *page* shows."""
    text = (HOWTO / page).read_text(encoding="utf-8")
    [body] = [body for _language, name, _line, body in code_blocks(text) if name == caption]
    return body


def documents(page: str, caption: str) -> dict[str, dict]:
    """Return the documents of a YAML file by their kind."""
    return {each["kind"]: each for each in yaml.safe_load_all(shown(page, caption))}


def volumes(pod: dict) -> dict[str, str]:
    return {each["name"]: each["persistentVolumeClaim"]["claimName"] for each in pod["volumes"]}


@pytest.fixture
def mounted(command, tmp_path, monkeypatch):
    """Return a site in a directory that stands for /data, beside one for /backups."""
    site = Site(tmp_path / "site")
    site.commit({"front page": "welcome"}, {"logo": b"a picture"})
    (tmp_path / "site" / "var").rename(tmp_path / "data")
    (tmp_path / "site" / "var").symlink_to(tmp_path / "data")
    (tmp_path / "backups").mkdir()
    monkeypatch.chdir(tmp_path)

    def environment(variables):
        for name, value in variables.items():
            text = str(value)
            monkeypatch.setenv(name, f"{tmp_path}{text}" if text.startswith("/") else text)
        return site

    return environment


def test_the_part_of_the_buildout_page_finds_the_site_of_its_zeo_server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = ConfigParser(interpolation=None, delimiters=("=",), strict=True)
    config.read_string(shown("plone-buildout.rst", "buildout.cfg").replace("<= ", "macro = "))
    buildout = Buildout()
    buildout.settings["directory"] = str(tmp_path)
    for name in config["buildout"]["parts"].split()[:-1]:
        section = {key: value for key, value in config[name].items() if key != "macro"}
        base = config[name].get("macro")
        buildout.add(name, {**(config[base] if base else {}), **section})
    [source] = buildout.make(**config["backup"], backup_blobs="true").config.sources
    assert source.filestorage == tmp_path / "var/filestorage/Data.fs"
    assert source.blobstorage == tmp_path / "var/blobstorage"
    assert config["versions"]["collective.recipe.backup"]


def test_the_services_of_the_page_about_containers_back_up_and_restore(mounted):
    services = yaml.safe_load(shown("containers.rst", "compose.yaml"))["services"]
    backup, restore = services["backup"], services["restore"]
    assert restore["extends"] == "backup"
    assert set(services["backend"]["depends_on"]) <= set(services)
    assert f"{services['backend']['environment']['ZEO_ADDRESS']}".partition(":")[0] in services
    assert "data:/data:ro" in backup["volumes"]
    assert "data:/data" in restore["volumes"]
    backed_up_and_restored(
        mounted(backup["environment"]), ["backup", "-q"], ["restore", "-q", "-n"]
    )


def test_the_jobs_of_the_page_about_kubernetes_back_up_and_restore(mounted):
    found = documents("plone-kubernetes.rst", "backup.yaml")
    [restoring] = documents("plone-kubernetes.rst", "restore.yaml").values()
    backing_up = found["CronJob"]["spec"]["jobTemplate"]
    pods = [each["spec"]["template"]["spec"] for each in (backing_up, restoring)]
    [backup], [restore] = (pod["containers"] for pod in pods)
    mapping = found["ConfigMap"]
    assert all(isinstance(value, str) for value in mapping["data"].values())
    for container in (backup, restore):
        [variables] = container["envFrom"]
        assert variables["configMapRef"]["name"] == mapping["metadata"]["name"]
    assert volumes(pods[0]) == volumes(pods[1])
    assert volumes(pods[0])["backups"] == found["PersistentVolumeClaim"]["metadata"]["name"]
    data, _backups = backup["volumeMounts"]
    assert data == {"name": "data", "mountPath": "/data", "readOnly": True}
    backed_up_and_restored(mounted(mapping["data"]), backup["args"], restore["args"])


def backed_up_and_restored(site: Site, backup: list[str], restore: list[str]) -> None:
    before = site.contents()
    assert main(backup) == 0
    for path in [*site.filestorage.parent.iterdir()]:
        path.unlink()
    assert main(restore) == 0
    assert site.contents() == before


PAGES = sorted(HOWTO.glob("plone*.rst")) + [HOWTO / "containers.rst"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_command_of_a_page_about_plone_is_one_that_sitebackup_knows(page: Path):
    for line in page.read_text(encoding="utf-8").splitlines():
        words = line.split()
        if "sitebackup" in words[:2]:
            name, *rest = words[words.index("sitebackup") + 1 :]
            assert parse(command_named(name), rest, f"sitebackup {name}")
