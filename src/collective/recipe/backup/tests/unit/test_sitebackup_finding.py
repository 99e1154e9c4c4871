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


def test_the_caches_of_the_clients_of_a_server_are_found_once_each(places: Places) -> None:
    for part, name in (("client1", "one"), ("client2", "two"), ("debug", "two")):
        named = CLIENT.replace("    server", f"    client {name}\n    var {{base}}/var\n    server")
        put(places, f"parts/{part}/etc/zope.conf", named)
    put(places, "parts/zeoserver/etc/zeo.conf", ZEO)
    var = places.base / "var"
    assert find(places).caches == (var / "one-1.zec", var / "two-1.zec")


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
    with pytest.raises(ConfigurationError, match="on the ZEO server localhost:8100") as caught:
        find(Places(base=places.base, part="backup", zope_conf=given))
    assert "--zeo-conf" in caught.value.hint


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
def test_a_lost_blobstorage_is_found_by_its_backups(places: Places, name: str) -> None:
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
    put(places, "etc/zope.conf", "<eventlog>\n</eventlog>\n")
    with pytest.raises(ConfigurationError, match="no site was found") as caught:
        find(places)
    problems = caught.value.problems
    looked = [it.replace(f"{places.base.parent}/", "") for it in problems]
    assert looked[0] == "site/etc/zope.conf: it has no filestorage"
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


# where the evidence says that the data is elsewhere


def main_on(storage: str, name: str = "main", mount: str = "/") -> str:
    return f"<zodb_db {name}>\n  mount-point {mount}\n{storage}</zodb_db>\n"


def client_of(server: str) -> str:
    return f"  <zeoclient>\n    server {server}\n  </zeoclient>\n"


RELSTORAGE = """\
  <relstorage>
    blob-dir {base}/var/blobstorage
    <postgresql>
      dsn dbname='site'
    </postgresql>
  </relstorage>
"""
DEMO = """\
  <demostorage>
    <filestorage>
      path {base}/var/filestorage/Data.fs
    </filestorage>
  </demostorage>
"""
MAPPING = "  <mappingstorage>\n  </mappingstorage>\n"
UNKNOWN = "  %import my.storage\n  <mystorage>\n  </mystorage>\n"
FILE = "  <filestorage>\n    path {base}/var/filestorage/Data.fs\n  </filestorage>\n"
OTHER = "  <filestorage>\n    path {base}/var/filestorage/other.fs\n  </filestorage>\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (main_on(RELSTORAGE), "in an SQL database"),
        (main_on(client_of("10.11.12.13:8100")), "on the ZEO server 10.11.12.13:8100"),
        (main_on(client_of("localhost:8100")), "on the ZEO server localhost:8100"),
        (main_on(DEMO), "a demo storage"),
        (main_on(MAPPING), "in memory only"),
        (main_on(UNKNOWN), "not known here (mystorage)"),
        (main_on(RELSTORAGE) + main_on(OTHER, "catalog", "/catalog"), "in an SQL database"),
        (main_on(RELSTORAGE, "a") + main_on(OTHER, "b", "/b"), "in an SQL database"),
        (main_on(client_of("$(NO_SUCH_ZEO)")), "on the ZEO server ?"),
        ("<zodb_db main>\n</zodb_db>\n", "not known here (zodb_db)"),
    ],
)
def test_a_filestorage_that_lies_there_is_not_that_of_a_site_whose_data_is_elsewhere(
    places: Places, text: str, said: str
) -> None:
    put_data(places.base / "var")
    put_data(places.image)
    put(places, "etc/zope.conf", text)
    with pytest.raises(ConfigurationError, match="no filestorage to back up") as caught:
        find(places)
    [problem] = caught.value.problems
    assert problem.startswith(f"{places.base}/etc/zope.conf: the data of its main database is")
    assert said in problem
    assert "--datafs" in caught.value.hint


def test_a_filestorage_that_the_user_names_is_taken_all_the_same(places: Places) -> None:
    var = put_data(places.base / "var")
    put(places, "etc/zope.conf", main_on(RELSTORAGE))
    assert find(places, datafs=var / "filestorage/Data.fs").main.blobstorage == var / "blobstorage"
    assert find(Places(base=places.base, part="backup", var=Path("var"))).var == var
    given = put(places, "my/zeo.conf", ZEO)
    assert find(Places(base=places.base, part="backup", zeo_conf=given)).var == var


@pytest.mark.parametrize(
    "elsewhere", [main_on(RELSTORAGE), main_on(client_of("10.11.12.13:8100")), main_on(MAPPING)]
)
def test_a_configuration_of_before_a_move_does_not_win_over_that_of_after_it(
    places: Places, elsewhere: str
) -> None:
    put(places, "parts/instance/etc/zope.conf", elsewhere)
    put(places, "parts/zeoserver/etc/zeo.conf", ZEO)
    with pytest.raises(ConfigurationError, match="do not mean one site") as caught:
        find(places)
    assert len(caught.value.problems) == 2
    assert "parts/zeoserver/etc/zeo.conf" in caught.value.problems[0]
    assert "its main database is" in caught.value.problems[1]
    assert "--zeo-conf" in caught.value.hint


def test_a_server_with_another_port_is_another_one(places: Places) -> None:
    put(places, "parts/instance/etc/zope.conf", main_on(client_of("localhost:8200")))
    put(places, "parts/zeoserver/etc/zeo.conf", ZEO)
    with pytest.raises(ConfigurationError, match="do not mean one site"):
        find(places)


def test_a_client_of_several_servers_needs_one_of_them_here(places: Places) -> None:
    servers = client_of("10.11.12.13:8100\n    server 127.0.0.1:8100")
    put(places, "parts/instance/etc/zope.conf", main_on(servers))
    put(places, "parts/zeoserver/etc/zeo.conf", ZEO)
    assert find(places).var == places.base / "var"


def test_where_a_name_cannot_be_looked_up_the_server_here_is_taken_with_a_warning(
    places: Places,
) -> None:
    """A network that is down for a moment costs no backup."""
    put(places, "parts/instance/etc/zope.conf", main_on(client_of("no-such-host.invalid:8100")))
    put(places, "parts/zeoserver/etc/zeo.conf", ZEO)
    site = find(places)
    assert site.var == places.base / "var"
    [warning] = site.warnings
    assert "no-such-host.invalid:8100 of this machine cannot be told now" in warning
    assert "set zeo_conf" in warning


def test_a_demo_beside_the_site_says_nothing(places: Places) -> None:
    put(places, "parts/instance/etc/zope.conf", main_on(FILE))
    put(places, "parts/demo/etc/zope.conf", main_on(DEMO))
    assert (find(places).var, find(places).warnings) == (places.base / "var", ())


def test_of_several_databases_those_that_are_elsewhere_are_named(places: Places) -> None:
    temporary = main_on("  <temporarystorage>\n  </temporarystorage>\n", "temporary", "/temp")
    catalog = main_on(RELSTORAGE, "catalog", "/catalog")
    put(places, "etc/zope.conf", main_on(FILE) + temporary + catalog)
    site = find(places)
    assert list(shown(places, site)) == [MAIN]
    assert site.warnings == (
        f"{places.base}/etc/zope.conf: the data of the database catalog is in an SQL database, "
        "which is backed up with its own tools: it is not backed up here",
    )


def test_wrappers_around_a_filestorage_change_nothing(places: Places) -> None:
    wrapped = f"  <zlibstorage>\n  <before>\n    before now\n{FILE}  </before>\n  </zlibstorage>\n"
    put(places, "etc/zope.conf", main_on(wrapped))
    assert find(places).var == places.base / "var"


def test_the_blob_cache_of_a_client_is_no_blobstorage(places: Places) -> None:
    var = put_data(places.base / "var")
    (var / "blobstorage" / ".layout").write_text("zeocache")
    site = find(places)
    assert site.main.blobstorage is None
    assert site.warnings == (
        f"{var}/blobstorage is the blob cache of a ZEO client, and no blobstorage",
    )
    (var / "blobs").mkdir()
    assert find(places).main.blobstorage == var / "blobs"
