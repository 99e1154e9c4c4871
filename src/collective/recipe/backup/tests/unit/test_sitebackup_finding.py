"""Where the site is: one, or an error that says where was looked."""

from __future__ import annotations

from pathlib import Path

import pytest

from collective.recipe.backup.errors import ConfigurationError
from collective.recipe.backup.model import MAIN, Source
from collective.recipe.backup.sitebackup.finding import Places, Site, find

ZOPE = """\
%define INSTANCE {base}
instancehome $INSTANCE
<zodb_db temporary>
    <temporarystorage>
    </temporarystorage>
    mount-point /temp_folder
</zodb_db>
<zodb_db main>
    <blobstorage>
      blob-dir $INSTANCE/{blobs}
      <filestorage>
        path $INSTANCE/{data}
      </filestorage>
    </blobstorage>
    mount-point /
</zodb_db>
"""
CLIENT = """\
<zodb_db main>
  mount-point /
  <zeoclient>
    server localhost:8100
    blob-dir {base}/var/blobstorage
  </zeoclient>
</zodb_db>
"""
ZEO = """\
<zeo>
  address 8100
</zeo>
<filestorage 1>
  path {base}/var/filestorage/Data.fs
  blob-dir {base}/var/blobstorage
</filestorage>
<zlibstorage catalog>
  <filestorage>
    path {base}/var/filestorage/../filestorage/catalog.fs
  </filestorage>
</zlibstorage>
"""


@pytest.fixture
def places(tmp_path: Path) -> Places:
    base = tmp_path / "site"
    base.mkdir()
    return Places(base=base, part="backup", image=tmp_path / "data", shelf=tmp_path / "shelf")


def put(places: Places, name: str, text: str, **names: str) -> Path:
    path = places.base / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.format(base=places.base, **names))
    return path


def put_data(var: Path, blobs: str = "blobstorage") -> Path:
    (var / "filestorage").mkdir(parents=True)
    (var / "filestorage" / "Data.fs").write_bytes(b"FS21")
    if blobs:
        (var / blobs).mkdir()
    return var


def shown(places: Places, site: Site) -> dict[str, tuple[str, str | None]]:
    def relative(path: Path) -> str:
        return str(path.relative_to(places.base.parent))

    return {
        it.name: (relative(it.filestorage), it.blobstorage and relative(it.blobstorage))
        for it in site.sources
    }


@pytest.mark.parametrize("name", ["etc", "instance/etc", "parts/instance/etc"])
def test_a_zope_conf_in_the_usual_places(places: Places, name: str) -> None:
    put(places, f"{name}/zope.conf", ZOPE, data="v/filestorage/Data.fs", blobs="v/blobs")
    site = find(places)
    assert shown(places, site) == {MAIN: ("site/v/filestorage/Data.fs", "site/v/blobs")}
    assert (site.var, site.prefix) == (places.base / "v", None)


def test_a_buildout_with_a_zeo_server_and_two_clients(places: Places) -> None:
    for part in ("client1", "client2"):
        put(places, f"parts/{part}/etc/zope.conf", CLIENT)
    put(places, "parts/zeoserver/etc/zeo.conf", ZEO)
    assert shown(places, find(places)) == {
        "catalog": ("site/var/filestorage/catalog.fs", None),
        MAIN: ("site/var/filestorage/Data.fs", "site/var/blobstorage"),
    }


def test_two_configurations_that_say_the_same(places: Places) -> None:
    for part in ("one", "two"):
        put(places, f"parts/{part}/etc/zope.conf", ZOPE, data="var/Data.fs", blobs="b")
    site = find(places)
    assert shown(places, site) == {MAIN: ("site/var/Data.fs", "site/b")}
    assert site.var == places.base / "var"


def test_two_that_do_not_are_named(places: Places) -> None:
    put(places, "parts/one/etc/zope.conf", ZOPE, data="one/Data.fs", blobs="b")
    put(places, "parts/two/etc/zope.conf", ZOPE, data="two/Data.fs", blobs="b")
    with pytest.raises(ConfigurationError) as caught:
        find(places)
    assert "parts/one/etc/zope.conf" in str(caught.value)
    assert "two/Data.fs" in str(caught.value)
    assert "--zope-conf" in caught.value.hint


def test_the_given_one_counts(places: Places) -> None:
    put(places, "parts/one/etc/zope.conf", ZOPE, data="one/Data.fs", blobs="b")
    two = put(places, "elsewhere.conf", ZOPE, data="two/Data.fs", blobs="b")
    places = Places(base=places.base, part="backup", zope_conf=two)
    assert shown(places, find(places)) == {MAIN: ("site/two/Data.fs", "site/b")}


def test_a_given_client_says_where_its_storage_is(places: Places) -> None:
    given = put(places, "my.conf", CLIENT)
    with pytest.raises(ConfigurationError, match="on a ZEO server"):
        find(Places(base=places.base, part="backup", zope_conf=given))


def test_relative_paths_start_at_the_home_of_the_instance(places: Places) -> None:
    text = "instancehome inst\n<filestorage>\npath var/Data.fs\nblob-dir blobs\n</filestorage>\n"
    put(places, "etc/zeo.conf", text)
    assert shown(places, find(places)) == {MAIN: ("site/inst/var/Data.fs", "site/inst/blobs")}


@pytest.mark.parametrize(
    "text",
    [
        "<filestorage a>\npath a\n</filestorage>\n<filestorage b>\npath b\n</filestorage>\n",
        "<filestorage>\npath a\n</filestorage>\n<filestorage>\npath b\n</filestorage>\n",
        "<filestorage 1>\npath a\n</filestorage>\n<filestorage x/y>\npath b\n</filestorage>\n",
    ],
    ids=["no main one", "the same name twice", "a name that is no name of a file"],
)
def test_storages_that_cannot_be_told_apart(places: Places, text: str) -> None:
    put(places, "etc/zeo.conf", text)
    with pytest.raises(ConfigurationError, match="which storage is the main one") as caught:
        find(places)
    assert "additional_filestorages" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "blobs"), [("instance/var", "blobs"), ("var", "blobstorage"), ("var", "")]
)
def test_directories_of_cookieplone_and_buildout(places: Places, name: str, blobs: str) -> None:
    var = put_data(places.base / name, blobs)
    site = find(places)
    assert site.main.filestorage == var / "filestorage" / "Data.fs"
    assert site.main.blobstorage == (var / blobs if blobs else None)
    assert (site.var, site.prefix) == (var, None)


def test_two_directories_are_one_too_many(places: Places) -> None:
    put_data(places.base / "var")
    put_data(places.base / "instance" / "var")
    with pytest.raises(ConfigurationError, match="two sites"):
        find(places)


def test_two_directories_of_blobs_are_one_too_many(places: Places) -> None:
    (put_data(places.base / "var") / "blobs").mkdir()
    with pytest.raises(ConfigurationError, match="may be the blobstorage"):
        find(places)


def test_the_volumes_of_the_official_images(places: Places) -> None:
    var = put_data(places.image)
    assert (find(places).var, find(places).prefix) == (var, None)
    places.shelf.mkdir()
    assert find(places).prefix == places.shelf


def test_a_site_nearby_comes_before_the_volume(places: Places) -> None:
    put_data(places.image)
    put_data(places.base / "var")
    assert find(places).var == places.base / "var"


def test_a_lost_site_is_found_by_its_backups(places: Places) -> None:
    places.image.mkdir()
    (places.shelf / "backups").mkdir(parents=True)
    site = find(places)
    assert site.main == Source(name=MAIN, filestorage=places.image / "filestorage" / "Data.fs")
    assert site.prefix == places.shelf


@pytest.mark.parametrize("name", ["blobs", "blobstorage"])
def test_so_is_a_lost_blobstorage(places: Places, name: str) -> None:
    var = put_data(places.base / "var", "")
    (var / "blobstoragebackups" / f"{name}.2026-03-01-12-00-00").mkdir(parents=True)
    assert find(places).main.blobstorage == var / name


def test_a_configuration_may_lead_to_the_volumes(places: Places) -> None:
    text = f"<filestorage>\npath {places.image}/filestorage/Data.fs\n</filestorage>\n"
    put(places, "etc/zope.conf", text)
    places.shelf.mkdir()
    assert (find(places).var, find(places).prefix) == (places.image, places.shelf)


def test_var_and_filestorage_may_be_said(places: Places, tmp_path: Path) -> None:
    put_data(places.base / "var")
    var = put_data(tmp_path / "other")
    said = Places(base=places.base, part="backup", var=Path("../other"))
    assert find(said).var == places.base / "../other"
    known = find(places, datafs=var / "filestorage" / "Data.fs")
    assert (known.var, known.main.blobstorage) == (var, var / "blobstorage")
    assert find(places, datafs=Path("my/Data.fs")).main == Source(
        name=MAIN, filestorage=places.base / "my" / "Data.fs"
    )


def test_nothing_is_found_where_nothing_is(places: Places) -> None:
    put(places, "etc/zope.conf", CLIENT)
    with pytest.raises(ConfigurationError, match="no site was found") as caught:
        find(places)
    problems = caught.value.problems
    looked = [it.replace(f"{places.base.parent}/", "") for it in problems]
    assert looked[0].startswith("site/etc/zope.conf: its storage is on a ZEO server")
    assert [it.partition(": ")[0] for it in looked] == [
        "site/etc/zope.conf",
        "site/instance/etc/zope.conf",
        "site/parts/*/etc/zope.conf",
        "site/etc/zeo.conf",
        "site/parts/*/etc/zeo.conf",
        "site/instance/var/filestorage/Data.fs",
        "site/var/filestorage/Data.fs",
        "data/filestorage/Data.fs",
    ]
