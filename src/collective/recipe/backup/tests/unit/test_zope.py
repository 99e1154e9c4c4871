"""What a real Zope, and a real Plone, do with what we write for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from collective.recipe.backup import sitebackup
from collective.recipe.backup.tests import zopes

pytestmark = pytest.mark.slow

PLONE = "BACKUP_TESTS_PLONE"
"""The variable that has Plone installed and tested, which takes two minutes."""

DATABASE = """
<zodb_db main>
    mount-point /
    <blobstorage>
        blob-dir $INSTANCE/var/blobstorage
        <filestorage>
            path $INSTANCE/var/filestorage/Data.fs
        </filestorage>
    </blobstorage>
</zodb_db>
"""

RESTORE_POINT = """
%import collective.recipe.backup
<zodb_db main>
    mount-point /
    <restorepoint>
        config $INSTANCE/sitebackup.toml
        cache-dir $INSTANCE/cache
        {}
    </restorepoint>
</zodb_db>
"""

MAKE = """
import transaction
from OFS.Folder import Folder
from OFS.Image import Image
from persistent.mapping import PersistentMapping
from Products.BTreeFolder2.BTreeFolder2 import BTreeFolder2
from ZODB.blob import Blob

app._setObject("tree", BTreeFolder2("tree"))
app.tree._setObject("news", Folder("news"))
app.tree.news._setObject("sub", Folder("sub"))
app.tree.news.sub._setObject("logo", Image("logo", "A logo", b"GIF89a"))
app.tree.news.attached = Blob(b"a file")
app.tree.news.attached.note = "made by a test"
transaction.commit()
# what the site has made since: no client may be given those oids again
app.later = PersistentMapping({number: PersistentMapping() for number in range(1100)})
transaction.commit()
"""

DELETE = """
import transaction
app.tree._delObject("news")
transaction.commit()
"""

PACK = """
import time
import transaction
app._p_jar.db().pack(time.time() + 1)
"""

LOOK = """
import json
news = app.tree.news
with news.attached.open() as file:
    data = file.read().decode()
print(json.dumps({
    "oids": [each._p_oid.hex() for each in (news, news.sub, news.sub.logo, news.attached)],
    "names": [list(app.tree.objectIds()), news.objectIds(), news.sub.objectIds()],
    "logo": bytes(news.sub.logo.data).decode(),
    "blob": data,
}))
"""

WRITE = """
import transaction
from ZODB.POSException import ReadOnlyError
app.title = "written"
try:
    transaction.commit()
except ReadOnlyError:
    print("it is read-only")
"""


MAKE_PLONE = """
import transaction
from AccessControl.SecurityManagement import newSecurityManager
from persistent.mapping import PersistentMapping
from Products.CMFPlone.factory import addPloneSite
from zope.component.hooks import setSite

newSecurityManager(None, app.acl_users.getUserById("admin").__of__(app.acl_users))
more = ("plone.app.contenttypes:default", "plonetheme.barceloneta:default")
addPloneSite(app, "Plone", title="A site", setup_content=False, extension_ids=more)
setSite(app.Plone)
from plone import api
from plone.namedfile.file import NamedBlobImage

news = api.content.create(app.Plone, "Folder", "news-of-old", title="News")
for number in range(5):
    image = api.content.create(news, "Image", f"image-{number}", title=f"Image {number}")
    image.image = NamedBlobImage(b"GIF89a" + bytes(1000 * number), filename=f"{number}.gif")
    image.reindexObject()
inner = api.content.create(news, "Folder", "inner", title="Inner")
api.content.create(inner, "Document", "page", title="Of penguins")
api.content.transition(news, "publish")
transaction.commit()
app.later = PersistentMapping({number: PersistentMapping() for number in range(1100)})
transaction.commit()
"""

LOOK_AT_PLONE = """
import json
from zope.component.hooks import setSite

setSite(app.Plone)
catalog = app.Plone.portal_catalog.unrestrictedSearchResults
news = app.Plone["news-of-old"]
parts = [brain.getObject() for brain in catalog(path="/Plone/news-of-old", sort_on="path")]
print(json.dumps({
    "oids": [each._p_oid.hex() for each in (*parts, news["image-4"].image._blob)],
    "paths": ["/".join(each.getPhysicalPath()) for each in parts],
    "uids": [each.UID() for each in parts],
    "dates": [str(each.modified()) for each in parts],
    "sizes": [len(news[f"image-{number}"].image.data) for number in range(5)],
    "found": [brain.getPath() for brain in catalog(SearchableText="penguins")],
    "state": app.Plone.portal_workflow.getInfoFor(news, "review_state"),
    "parent": news.__parent__.getId(),
}))
"""

DELETE_FROM_PLONE = """
import transaction
from zope.component.hooks import setSite

setSite(app.Plone)
app.Plone._delObject("news-of-old")
transaction.commit()
"""

MOVE_IN_PLONE = """
import transaction
from AccessControl.SecurityManagement import newSecurityManager
from zope.component.hooks import setSite

newSecurityManager(None, app.acl_users.getUserById("admin").__of__(app.acl_users))
setSite(app.Plone)
transaction.savepoint()
app.Plone.manage_renameObject("news-of-old", "elsewhere")
transaction.commit()
"""


class Instance(NamedTuple):
    """A site of a real Zope, which is backed up."""

    zope: zopes.Zope
    directory: Path
    script: Path  # like bin/instance

    def look(self, code: str = LOOK) -> dict[str, Any]:
        found = json.loads(zopes.run(self.script, code))
        assert isinstance(found, dict)
        return found

    def undelete(self, name: str, *more: str, path: str = "/tree/news") -> int:
        """Bring back what was at *path*, by an export of that *name*."""
        export = self.directory / f"{name}.zexp"
        asked = [path, "--file", str(export), "--run", str(self.script), *more]
        return sitebackup.main(["undelete", "--config", str(self.config), *asked])

    @property
    def config(self) -> Path:
        return self.directory / "sitebackup.toml"


@contextmanager
def served(instance: Instance) -> Iterator[str]:
    """Yield what the command prints that serves the newest moment."""
    code = "import sys; from collective.recipe.backup import sitebackup as it; sys.exit(it.main())"
    asked = ["open", "--config", instance.config, "--address", "0"]
    asked += ["--cache", instance.directory / "cache"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *asked], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        while not lines or lines[-1] not in ("", "</zodb_db>\n"):
            lines.append(process.stdout.readline())
        try:
            yield "".join(lines)
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 0


def instance_of(zope: zopes.Zope, directory: Path, code: str) -> Instance:
    """Return an instance in *directory* whose site *code* has made, and that is backed up."""
    script = zope.make_instance(directory, DATABASE)
    (directory / "var" / "filestorage").mkdir()
    found = Instance(zope, directory, script)
    found.config.write_text(
        'datafs = "var/filestorage/Data.fs"\nblob_storage = "var/blobstorage"\n'
    )
    zopes.run(script, code)
    assert sitebackup.main(["backup", "--quiet", "--config", str(found.config)]) == 0
    return found


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.getbasetemp()
    return base.parent if base.name.startswith("popen-") else base


@pytest.fixture
def instance(environments: Path, tmp_path: Path) -> Instance:
    zope = zopes.installed(environments, "Zope", zopes.ZOPE)
    return instance_of(zope, tmp_path / "site", MAKE)


@pytest.fixture
def plone(environments: Path, tmp_path: Path) -> Instance:
    if not os.environ.get(PLONE):
        pytest.skip(f"Plone, for want of {PLONE}, is not installed")
    zope = zopes.installed(environments, "Plone", zopes.PLONE)
    return instance_of(zope, tmp_path / "site", MAKE_PLONE)


def test_a_folder_comes_back_under_its_old_oids_where_they_are_free(
    instance: Instance, capfd: pytest.CaptureFixture[str]
) -> None:
    before = instance.look()
    assert before["blob"] == "a file"
    zopes.run(instance.script, DELETE)
    assert instance.undelete("first", "--json") == 0
    told = capfd.readouterr()
    assert json.loads(told.out)["script"] == str(instance.directory / "first.zexp.py")
    assert "with their old oids: 0, with new ones: 4" in told.err
    again = instance.look()
    assert not set(again.pop("oids")) & set(before["oids"])
    assert again == {key: value for key, value in before.items() if key != "oids"}

    zopes.run(instance.script, DELETE + PACK)
    assert instance.undelete("second") == 0
    assert "with their old oids: 4, with new ones: 0" in capfd.readouterr().err
    assert instance.look() == before
    assert instance.undelete("third", "--dry-run") != 0
    assert "the name is taken: there is a 'news' in the folder" in capfd.readouterr().err


def test_a_moment_is_opened_by_a_section_of_zope_conf(instance: Instance) -> None:
    before = instance.look()
    zopes.run(instance.script, DELETE)
    script = instance.zope.make_script(instance.directory, "past", RESTORE_POINT.format(""))
    assert json.loads(zopes.run(script, LOOK)) == before
    assert zopes.run(script, WRITE) == "it is read-only\n"
    asked = RESTORE_POINT.format("moment someday")
    script = instance.zope.make_script(instance.directory, "wrong", asked)
    done = subprocess.run([script, "run", "x"], check=False, capture_output=True, text=True)
    assert "<restorepoint>: 'someday' is not a moment" in done.stderr
    assert "(line 12 in file://" in done.stderr


def test_a_moment_that_is_served_is_opened_by_what_the_command_prints(instance: Instance) -> None:
    before = instance.look()
    zopes.run(instance.script, DELETE)
    with served(instance) as conf:
        script = instance.zope.make_script(instance.directory, "client", conf)
        assert json.loads(zopes.run(script, LOOK)) == before
        assert zopes.run(script, WRITE) == "it is read-only\n"


def test_a_folder_of_plone_comes_back_and_the_catalogue_knows_it(
    plone: Instance, capfd: pytest.CaptureFixture[str]
) -> None:
    path = "/Plone/news-of-old"
    before = plone.look(LOOK_AT_PLONE)
    assert (len(before["paths"]), before["state"]) == (8, "published")
    zopes.run(plone.script, DELETE_FROM_PLONE)
    assert plone.undelete("first", path=path) == 0
    assert "with their old oids: 0" in capfd.readouterr().err
    again = plone.look(LOOK_AT_PLONE)
    assert not set(again.pop("oids")) & set(before["oids"])
    assert again == {key: value for key, value in before.items() if key != "oids"}

    zopes.run(plone.script, DELETE_FROM_PLONE + PACK)
    assert plone.undelete("second", path=path) == 0
    assert "with new ones: 0" in capfd.readouterr().err
    assert plone.look(LOOK_AT_PLONE) == before
    zopes.run(plone.script, MOVE_IN_PLONE)
    assert plone.undelete("third", path=path) != 0
    assert "it was not deleted: it is at '/Plone/elsewhere'" in capfd.readouterr().err
