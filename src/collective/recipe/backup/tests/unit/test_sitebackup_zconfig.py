"""The reader of zope.conf and zeo.conf, compared with ZConfig where that can read them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import ZConfig

from collective.recipe.backup.errors import BackupError, ConfigurationError
from collective.recipe.backup.sitebackup.zconfig import Section, read

ZOPE = """\
# of a site
%define INSTANCE /srv/site
%define Var $INSTANCE/var
instancehome $INSTANCE
<environment>
  A 1
</environment>
<ZODB_DB Main>
    mount-point /
    <blobstorage>
      blob-dir ${var}/blobs
      <FileStorage>
        PATH\t$VAR/filestorage/Data fs$$.fs
      </FileStorage>
    </blobstorage>
    <empty one/>
    <empty/>
</ZODB_DB>
"""


def written(tmp_path: Path, text: str, name: str = "zope.conf") -> Section:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", errors="surrogateescape")
    return read(path)


def ways(root: Section) -> list[str]:
    return ["/".join(f"{it.kind} {it.name}".strip() for it in way[1:]) for way in root.walk()][1:]


def test_sections_nest(tmp_path: Path) -> None:
    assert ways(written(tmp_path, ZOPE)) == [
        "environment",
        "zodb_db main",
        "zodb_db main/blobstorage",
        "zodb_db main/blobstorage/filestorage",
        "zodb_db main/empty one",
        "zodb_db main/empty",
    ]


def test_names_are_replaced_as_zconfig_does(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SITE_HOME", "/home/site")
    text = "%define A one\n%define B ${a}/two\nx $b three$$ $(SITE_HOME)\ny\nz  # no comment\n"
    schema = ZConfig.loadSchemaFile(
        io.StringIO("<schema>" + "".join(f"<key name='{it}'/>" for it in "xyz") + "</schema>")
    )
    theirs, _handlers = ZConfig.loadConfigFile(schema, io.StringIO(text))
    ours = written(tmp_path, text)
    assert [ours.value(it) for it in "xyz"] == [theirs.x, theirs.y, theirs.z]
    assert ours.value("x") == "one/two three$ /home/site"


def test_a_key_is_found_however_it_is_spelled(tmp_path: Path) -> None:
    way = list(written(tmp_path, ZOPE).walk())[4]
    assert way[-1].value("path") == "/srv/site/var/filestorage/Data fs$.fs"


def test_what_is_not_defined_is_an_error_of_who_wants_it(tmp_path: Path) -> None:
    root = written(tmp_path, "%define A $NOWHERE\na 1\nb $A/x\n")
    assert root.value("a") == "1"
    with pytest.raises(ConfigurationError, match=r"b needs \$A, which is not defined") as caught:
        root.value("b")
    assert caught.value.where == f"{tmp_path / 'zope.conf'}, line 3"


def test_files_are_included(tmp_path: Path) -> None:
    written(tmp_path, "<filestorage 1>\n  path $VAR/Data.fs\n</filestorage>\n", "more.conf")
    root = written(tmp_path, "%define VAR /v\n%include more.conf\n%include http://a/b\n")
    assert root.sections[0].value("path") == "/v/Data.fs"


def test_a_circle_of_files_ends(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="circle"):
        written(tmp_path, "%include zope.conf\n")


@pytest.mark.parametrize(
    "line", ["<", "<>", "</nothing>", "<a", "%", "%import no.such.package", "%what 1", "$", "</a>"]
)
def test_a_line_that_cannot_be_read_is_left(tmp_path: Path, line: str) -> None:
    root = written(tmp_path, f"{line}\n<filestorage>\npath /Data.fs\n{line}\n</filestorage>\nk v\n")
    assert [it.value("path") for it in root.sections if it.kind == "filestorage"] == ["/Data.fs"]


def test_a_path_may_hold_any_byte(tmp_path: Path) -> None:
    root = written(tmp_path, "path /srv/\udcff\udcfe\x85\x0b/ü\n")
    assert root.value("path") == "/srv/\udcff\udcfe\x85\x0b/ü"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackupError) as caught:
        read(tmp_path / "no.conf")
    assert caught.value.where == str(tmp_path / "no.conf")
    assert caught.value.hint
