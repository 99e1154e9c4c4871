"""What the user has set: which of several places wins, and what is no option."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collective.recipe.backup.errors import BackupError, ConfigurationError
from collective.recipe.backup.options import Options, declarations
from collective.recipe.backup.options.parsing import read
from collective.recipe.backup.sitebackup.settings import SiteSettings, gathered


@pytest.fixture
def project(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def options(settings: SiteSettings) -> Options:
    assert settings.problems == []
    reading = read(settings.texts)
    assert reading.problems == ()
    return reading.options


def set_by(**environment: str) -> SiteSettings:
    return gathered(None, [], environment)


PLACES = [
    ("pyproject.toml", "[tool.collective-backup]\nkeep = 1\n"),
    ("sitebackup.toml", "keep = 2\n"),
    ("pyproject.toml", "[tool.collective-backup]\nkeep = 1\n[tool.sitebackup]\nkeep = 3\n"),
    (".env", "# mine\nexport COLLECTIVE_BACKUP_KEEP='4'\nOTHER=x\n"),
]


def test_a_later_source_of_settings_wins(project: Path) -> None:
    found = []
    for name, text in PLACES:
        (project / name).write_text(text)
        found.append(options(set_by()).keep)
    found.append(options(set_by(COLLECTIVE_BACKUP_KEEP="5")).keep)
    environment = {"COLLECTIVE_BACKUP_KEEP": "5", "SITEBACKUP_KEEP": "6"}
    found.append(options(gathered(None, [], environment)).keep)
    given = [("keep", "9"), ("keep", "7")]
    found.append(options(gathered(None, given, environment)).keep)
    assert found == [1, 2, 3, 4, 5, 6, 7]


def test_another_spelling_wins_as_well(project: Path) -> None:
    (project / "sitebackup.toml").write_text('blob-storage = "one"\n')
    assert options(set_by(SITEBACKUP_BLOB_STORAGE="two")).blob_storage == Path("two")
    (project / "sitebackup.toml").write_text('alternative_restore_source = "Data a b"\n')
    later = gathered(None, [("alternative_restore_sources", "Data c d")], {})
    assert options(later).alternative_restore_source == ("Data c d",)


def test_values_of_toml_are_understood_by_their_type(project: Path) -> None:
    (project / "sitebackup.toml").write_text(
        "keep = 7\n"
        "backup_blobs = false\n"
        'gzip = "off"\n'
        'rsync_options = ["--exclude", "a b"]\n'
        'additional-filestorages = ["one", "two \'x y.fs\'"]\n'
        'pre_command = ["mount /b", "true"]\n'
    )
    found = options(set_by())
    assert (found.keep, found.backup_blobs, found.gzip) == (7, False, False)
    assert found.rsync_options == ("--exclude", "a b")
    assert found.additional_filestorages == ("one", "two 'x y.fs'")
    assert found.pre_command == "mount /b\ntrue"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("keep = [1]", "keep is one value, not a list"),
        ("keep = 1.5", "keep must be a text, a number, true, false or a list, not 1.5"),
        ("keep = {a = 1}", "keep must be"),
        ("rsync_options = [1]", "rsync_options must be a list of texts"),
        ('pre_command = ["a\\nb"]', "pre_command must be a list of texts without line breaks"),
        ("kepe = 1", "there is no option kepe; do you mean keep?"),
        ("Keep = 1", "there is no option Keep; do you mean keep?"),
        ("xyzzy = 1", "there is no option xyzzy"),
    ],
)
def test_what_cannot_be_a_value_is_named(project: Path, line: str, says: str) -> None:
    (project / "sitebackup.toml").write_text(f"{line}\n")
    [problem] = set_by().problems
    assert problem.startswith(f"{project / 'sitebackup.toml'}: {says}")


def test_an_unknown_variable_is_an_error(project: Path) -> None:
    [problem] = set_by(SITEBACKUP_KEEEP="1").problems
    assert problem == "SITEBACKUP_* of the environment: there is no option keeep; do you mean keep?"


def test_every_option_can_be_set_by_a_variable(project: Path) -> None:
    settings = set_by(**{f"SITEBACKUP_{name.upper()}": "" for name in declarations()})
    assert settings.problems == []
    assert set(settings.texts) == set(declarations())


def test_a_configuration_file_in_another_directory_is_read(project: Path) -> None:
    place = project / "etc"
    place.mkdir()
    (place / "my.toml").write_text("keep = 3\n")
    (place / "pyproject.toml").write_text("[tool.sitebackup]\nfull = true\n")
    (project / "sitebackup.toml").write_text("keep = 4\n")
    for settings in (
        gathered(Path("etc/my.toml"), [], {}),
        set_by(SITEBACKUP_CONFIG="etc/my.toml"),
    ):
        assert settings.directory == place
        assert (options(settings).keep, options(settings).full) == (3, True)


def test_a_pyproject_may_be_the_configuration(project: Path) -> None:
    (project / "pyproject.toml").write_text("[tool.sitebackup]\nkeep = 3\n[other]\nkepe = 1\n")
    (project / "sitebackup.toml").write_text("kepe = 4\n")
    assert options(gathered(Path("pyproject.toml"), [], {})).keep == 3


@pytest.mark.parametrize("name", ["no.toml", "no/pyproject.toml"])
def test_a_configuration_that_is_given_must_be_there(project: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="no such configuration"):
        gathered(Path(name), [], {})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sitebackup.toml", "keep = \n"),
        ("sitebackup.toml", "keep = '\xff"),
        ("pyproject.toml", "[tool]\nsitebackup = 1\n"),
        (".env", "COLLECTIVE_BACKUP_KEEP\n"),
    ],
)
def test_a_file_that_cannot_be_understood_is_named(project: Path, name: str, text: str) -> None:
    (project / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError):
        set_by()


def test_an_unreadable_file_is_named(project: Path) -> None:
    (project / "sitebackup.toml").mkdir()
    with pytest.raises(BackupError) as caught:
        gathered(Path("sitebackup.toml"), [], {})
    assert caught.value.where == str(project / "sitebackup.toml")


# of collective-backup


def test_the_table_and_the_variables_of_collective_backup_are_understood(
    project: Path, monkeypatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (project / "pyproject.toml").write_text(
        "[tool.collective-backup]\n"
        'var_dir = "instance/var"\nblob-storage = "instance/var/blobs"\nkeep = 7\n'
        'enable_zipbackup = true\ncron = "0 3 * * *"\nbin_dir = "bin"\nname = "mine"\n'
        'repozo = "sh"\n'
    )
    (project / ".env").write_text('COLLECTIVE_BACKUP_PRE_COMMAND="one\\ntwo \\"x\\""\n')
    settings = set_by(COLLECTIVE_BACKUP_LOCATIONPREFIX="/b", COLLECTIVE_BACKUP_SNAPSHOT_CRON="x")
    assert settings.problems == []
    assert settings.texts == {
        "var_dir": "instance/var",
        "blob_storage": "instance/var/blobs",
        "keep": "7",
        "enable_zipbackup": "true",
        "name": "mine",
        "repozo": settings.texts["repozo"],
        "pre_command": 'one\ntwo "x"',
        "locationprefix": "/b",
    }
    assert os.path.isabs(settings.texts["repozo"])
    assert [note.split(": ")[1].split()[0] for note in settings.notes] == [
        "cron",
        "bin_dir",
        "snapshot_cron",
    ]


def test_the_lenient_booleans_of_collective_backup_are_refused(project: Path) -> None:
    [problem] = set_by(COLLECTIVE_BACKUP_BACKUP_BLOBS="ture").problems
    assert "backup_blobs must be one of true, yes, on, 1" in problem
    assert "collective-backup takes any other word for false" in problem


def test_unknown_options_of_collective_backup_are_errors(project: Path) -> None:
    (project / "pyproject.toml").write_text("[tool.collective-backup]\nkeeep = 7\n")
    [problem] = set_by().problems
    assert problem.endswith("there is no option keeep; do you mean keep?")


# poor surroundings


def test_a_home_that_nobody_knows_is_named(project: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert set_by(SITEBACKUP_LOCATION="~/b").problems == []
    [problem] = set_by(SITEBACKUP_LOCATION="~nobody-of-that-name/b").problems
    assert "location has a ~, but this user has no home" in problem


def test_a_working_directory_that_is_gone(tmp_path: Path, monkeypatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    settings = gathered(None, [("keep", "3")], {})
    assert (settings.directory, options(settings).keep) == (Path("/"), 3)


@pytest.mark.parametrize(
    "text",
    [
        "keep = " + "[" * 100_000,
        "keep = " + "[" * 60 + "]" * 60,
        "keep = " + "{a = " * 40 + "1" + "}" * 40,
        ".".join("a" * 2000) + " = 1",
        "keep = " + "9" * 5000,
        "keep = 0x" + "f" * 100_000,
        "\0" * 1000,
        "keep = 1979-13-01",
        "\ufeffkeep = 3",
    ],
    ids=lambda text: repr(text[:15]),
)
def test_toml_that_nobody_can_use_is_refused_in_words(project: Path, text: str) -> None:
    (project / "sitebackup.toml").write_text(text, encoding="utf-8")
    try:
        settings = set_by()
    except BackupError as error:
        assert error.where == str(project / "sitebackup.toml")
    else:
        assert settings.problems or read(settings.texts).problems


@pytest.mark.parametrize("name", ["sitebackup.toml", "pyproject.toml"])
def test_a_pipe_that_is_named_as_configuration_is_not_waited_for(project: Path, name: str) -> None:
    os.mkfifo(project / name)
    with pytest.raises(BackupError, match="not a regular file"):
        gathered(Path(name), [], {})
