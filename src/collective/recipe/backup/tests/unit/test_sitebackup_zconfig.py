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


def test_sections_of_zope_conf_may_be_nested(tmp_path: Path) -> None:
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


def test_files_that_zope_conf_includes_are_read(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("name", ["$CONF/more.conf", "${conf}/more.conf", "$(NO_SUCH)/more.conf"])
def test_a_file_to_include_whose_name_is_not_defined_is_named(tmp_path: Path, name: str) -> None:
    """What it says of the storages is not known, so nobody goes on without it."""
    said = r"^%include needs \$\S+, which is not defined"
    with pytest.raises(ConfigurationError, match=said) as caught:
        written(tmp_path, f"k v\n%include {name}\n")
    assert caught.value.where == f"{tmp_path / 'zope.conf'}, line 2"
    assert "set the variable" in caught.value.hint


def test_definitions_that_double_cost_no_memory(tmp_path: Path) -> None:
    lines = ["%define a0 " + "x" * 60]
    lines += [f"%define a{number} $a{number - 1}$a{number - 1}" for number in range(1, 60)]
    root = written(tmp_path, "\n".join([*lines, "short $a5", "long $a50", "longer $a10$a10"]))
    assert len(root.value("short") or "") == 60 * 2**5
    with pytest.raises(ConfigurationError, match=r"long needs \$a50, which is not defined"):
        root.value("long")
    with pytest.raises(ConfigurationError, match="longer has more than 65536 characters"):
        root.value("longer")


def test_a_line_of_references_costs_no_memory(tmp_path: Path) -> None:
    root = written(tmp_path, "%define a " + "x" * 60_000 + "\nb " + "$a" * 500_000 + "\n")
    with pytest.raises(ConfigurationError, match="b has more than 65536 characters"):
        root.value("b")


def test_files_that_include_each_other_twice_end_soon(tmp_path: Path) -> None:
    for number in range(15):
        (tmp_path / f"{number}.conf").write_text(f"%include {number + 1}.conf\n" * 2)
    (tmp_path / "15.conf").write_text("k v\n")
    with pytest.raises(ConfigurationError, match="circle"):
        read(tmp_path / "0.conf")


def test_all_files_together_have_a_limit(tmp_path: Path) -> None:
    (tmp_path / "more.conf").write_text("# nothing\n" * 300_000)
    with pytest.raises(BackupError, match="larger than"):
        written(tmp_path, "%include more.conf\n" * 3)


def test_sections_that_lie_too_deep_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="too deep in each other") as caught:
        written(tmp_path, "<a>\n" * 100_000)
    assert caught.value.where == f"{tmp_path / 'zope.conf'}, line 51"


def test_many_sections_beside_each_other_are_read(tmp_path: Path) -> None:
    root = written(tmp_path, "<a>\n</a>\n" * 10_000)
    assert len(list(root.walk())) == 10_001


def test_zero_bytes_are_no_text(tmp_path: Path) -> None:
    for data in (b"path /srv/\0\n", "path /srv\n".encode("utf-16"), bytes(100)):
        (tmp_path / "zope.conf").write_bytes(data)
        with pytest.raises(ConfigurationError, match="zero bytes"):
            read(tmp_path / "zope.conf")


@pytest.mark.parametrize("line", ["<a x{}y>", "<a{}", "<{}>", "<a{}>", "k{}v", "%define a{}b"])
def test_a_line_of_many_spaces_takes_no_longer_than_its_length(tmp_path: Path, line: str) -> None:
    """One that took the square of it would not end while somebody waits."""
    written(tmp_path, line.format(" " * 1_000_000))


def test_lines_may_end_as_on_other_systems(tmp_path: Path) -> None:
    (tmp_path / "zope.conf").write_bytes(b"<a>\r\nk v\r\n</a>\rl w\r")
    root = read(tmp_path / "zope.conf")
    assert (root.sections[0].value("k"), root.value("l")) == ("v", "w")
