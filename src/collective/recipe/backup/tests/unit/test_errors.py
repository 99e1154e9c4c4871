from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest

from collective.recipe.backup import errors
from collective.recipe.backup.errors import (
    BackupError,
    ConfigurationError,
    IntegrityError,
    explained,
    from_os_error,
    naming,
    printable,
)

PROJECT = Path(__file__).parents[6]


def tree(error=BackupError):
    return [error, *(each for child in error.__subclasses__() for each in tree(child))]


def test_exit_codes_are_those_that_scripts_rely_on():
    assert {error.__name__: error.exit_code for error in tree()} == {
        "BackupError": 1,
        "StoreRefused": 1,
        "ObjectArchived": 1,
        "RequestsSpent": 1,
        "ConfigurationError": 2,
        "UsageError": 2,
        "IntegrityError": 3,
        "NoRestorePoint": 4,
        "InUse": 5,
        "StoreUnreachable": 6,
        "CommandFailed": 7,
        "BrokenOff": 8,
        "Interrupted": 130,
    }
    assert errors.DONE == 0


def test_the_exit_codes_are_documented_in_the_words_of_their_errors():
    page = PROJECT / "docs" / "reference" / "exit-codes.rst"
    row = r"^(\d+) +(?:``(\w+)``)? +(.+)$"
    documented = re.findall(row, page.read_text(encoding="utf-8"), re.MULTILINE)
    declared = [
        (str(error.exit_code), error.__name__, error.__doc__.splitlines()[0]) for error in tree()
    ]
    done = ("0", "", "Everything asked for was done, is durable and is whole.")
    assert documented == sorted([done, *declared], key=lambda row: int(row[0]))


@pytest.mark.parametrize("error", tree(), ids=lambda error: error.__name__)
def test_every_error_is_declared_in_the_one_room(error):
    assert error.__module__ == errors.__name__


@pytest.mark.parametrize("error", tree(), ids=lambda error: error.__name__)
def test_every_error_says_what_where_and_a_hint(error):
    raised = error(
        "it broke", where=b"/var/d\xe9".decode("utf-8", "surrogateescape"), hint="mend it"
    )
    assert str(raised) == "it broke: /var/d\\udce9"
    assert (raised.what, raised.hint) == ("it broke", "mend it")


def test_the_place_is_left_out_when_there_is_none():
    assert str(IntegrityError("it broke")) == "it broke"


def test_a_configuration_error_names_all_problems_at_once():
    error = ConfigurationError("not usable", where="[backup]", problems=["one", "two"])
    assert str(error) == "not usable: [backup]\n  - one\n  - two"


def test_an_os_error_is_explained(tmp_path):
    with pytest.raises(BackupError) as caught, explained("cannot read", tmp_path / "elsewhere"):
        os.open(tmp_path / "missing", os.O_RDONLY)
    assert str(caught.value) == f"cannot read: No such file or directory: {tmp_path / 'missing'}"
    assert caught.value.hint == "is the path right, and is the disk mounted?"
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_the_place_comes_from_the_caller_when_the_os_error_has_none():
    with pytest.raises(BackupError) as caught, explained("cannot write", "here"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(caught.value) == "cannot write: No space left on device: here"
    assert "room" in caught.value.hint


def test_errors_of_other_kinds_pass_unexplained():
    with pytest.raises(ZeroDivisionError), explained("cannot divide"):
        1 / 0  # noqa: B018  the error is the point
    with pytest.raises(IntegrityError), explained("cannot read"):
        raise IntegrityError("damaged")


@pytest.mark.parametrize(
    ("filename", "where"),
    [("a", "a"), (b"a\xff", "a\\udcff"), (7, "given"), (None, "given")],
    ids=["text", "bytes", "descriptor", "none"],
)
def test_a_place_is_text_or_bytes_and_never_the_number_of_a_descriptor(filename, where):
    error = from_os_error(OSError(errno.EIO, "I/O error", filename), "cannot read", "given")
    assert str(error) == f"cannot read: I/O error: {where}"


def test_a_call_on_a_descriptor_is_given_the_path_that_it_was_for():
    for unnamed in (OSError(errno.EIO, "I/O error"), OSError(errno.EIO, "I/O error", 7)):
        with pytest.raises(OSError, match="I/O error") as caught, naming(Path("near")):
            raise unnamed
        assert caught.value.filename == "near"


def test_a_path_that_an_error_names_stays():
    with pytest.raises(OSError, match="I/O error") as caught, naming("near"), naming("nearest"):
        raise OSError(errno.EIO, "I/O error")
    assert caught.value.filename == "nearest"


def test_an_os_error_without_a_number_keeps_its_words():
    assert str(from_os_error(OSError("odd"))) == "cannot go on: odd"


def test_what_stands_in_the_place_of_a_file_is_to_be_moved_away(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for path, word in {tmp_path: "directory", tmp_path / "loop": "link"}.items():
        with pytest.raises(BackupError) as caught, explained("cannot read", path):
            path.read_bytes()
        assert word in caught.value.hint


@pytest.mark.parametrize("number", sorted(errors._HINTS))
def test_a_hint_says_something(number):
    assert len(errors._HINTS[number].split()) > 2


def test_what_is_printed_is_one_line_and_cannot_steer_a_terminal():
    assert printable("Zürich") == "Zürich"
    assert printable("a\nb\x1b[2Jc\udcff") == "a\\nb\\x1b[2Jc\\udcff"
