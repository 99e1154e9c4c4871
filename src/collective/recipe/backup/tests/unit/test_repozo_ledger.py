from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from collective.recipe.backup.files import Files
from collective.recipe.backup.repozo.chains import Chain, read_directory
from collective.recipe.backup.repozo.ledger import Part, is_data_file, parse, render, write_ledger
from collective.recipe.backup.tests.counting import calls
from collective.recipe.backup.times import stamp

FULL = Part("2026-03-01-12-00-00.fsz", 0, 100, "1f3870be274f6c49b3e31a0c6728957f")
SECOND = Part("2026-03-02-12-00-00.deltafsz", 100, 150, "6fe7b5ff5d4c4c1b8e9e0e6e2f1c9a11")
THIRD = Part("2026-03-03-12-00-00.deltafs", 150, 200, "0cc175b9c0f1b6a831c399e269772661")
PARTS = (FULL, SECOND, THIRD)


def ledger(directory, text, *, files=PARTS):
    """Write a ledger with *text*, and *files*; return what the directory holds."""
    directory.mkdir(exist_ok=True)
    for part in files:
        (directory / part.name).touch()
    data = text if isinstance(text, bytes) else text.encode()
    (directory / f"{FULL.stamp}.dat").write_bytes(data)
    return read_directory(directory)


def line(part, path=""):
    return f"{path}{part.name} {part.start} {part.end} {part.checksum}\n"


def whats(listing):
    return [problem.what for problem in listing.problems]


@pytest.mark.parametrize(
    "path",
    ["", "backups/", "/srv/site/var/backups/", "/srv/with space  and 1 2 3/", "/srv/ütf/\\/"],
)
def test_a_line_may_hold_any_path(tmp_path, path):
    listing = ledger(tmp_path, "".join(line(part, path) for part in PARTS))
    assert [chain.parts for chain in listing.chains] == [PARTS]
    assert listing.problems == ()
    assert listing.orphans == ()


def test_a_directory_with_the_end_of_a_path_as_its_name(tmp_path, monkeypatch):
    """The path of the one is part of a name in that of the other, and is no path of its own."""
    (tmp_path / "mydata").mkdir()
    (tmp_path / "data").symlink_to("mydata")
    ledger(tmp_path / "mydata", "".join(line(part, f"{tmp_path}/mydata/") for part in PARTS))
    monkeypatch.chdir(tmp_path)
    listing = read_directory(Path("data"))
    assert [chain.parts for chain in listing.chains] == [PARTS]
    assert listing.problems == ()


def test_a_link_to_itself_is_no_backup(tmp_path):
    (tmp_path / "foreign").symlink_to("foreign")
    (tmp_path / f"{SECOND.stamp}.blocks").symlink_to(f"{SECOND.stamp}.blocks")
    ledger(tmp_path, "".join(map(line, PARTS)), files=[FULL, THIRD])
    (tmp_path / SECOND.name).symlink_to(SECOND.name)
    listing = read_directory(tmp_path)
    assert listing.chains[0].missing == (SECOND.name,)


def test_a_path_with_a_line_end_in_it(tmp_path):
    directory = tmp_path / "line\nend"
    listing = ledger(directory, "".join(line(part, f"{directory}/") for part in PARTS))
    assert listing.chains[0].parts == PARTS
    assert listing.problems == ()


def test_what_is_written_is_what_is_read(tmp_path):
    for part in PARTS:
        (tmp_path / part.name).touch()
    write_ledger(tmp_path, FULL.stamp, PARTS, Files())
    [chain] = read_directory(tmp_path).chains
    assert chain.parts == PARTS
    assert (chain.stamp, chain.end, chain.last) == (FULL.stamp, 200, THIRD)
    assert chain.path(SECOND) == tmp_path / SECOND.name
    assert chain.ledger.read_bytes() == render(PARTS)
    assert chain.ledger.read_text().splitlines()[1].split() == [
        SECOND.name, "100", "150", SECOND.checksum,
    ]  # fmt: skip


def test_chains_come_oldest_first_and_carry_their_own_files(tmp_path):
    later = Part("2026-04-01-12-00-00.fs", 0, 4, FULL.checksum)
    (tmp_path / later.name).touch()
    write_ledger(tmp_path, later.stamp, [later], Files())
    listing = ledger(tmp_path, "".join(map(line, PARTS)))
    assert [chain.stamp for chain in listing.chains] == [FULL.stamp, later.stamp]
    assert listing.newest == later.stamp


def test_a_directory_that_does_not_exist_holds_nothing(tmp_path):
    listing = read_directory(tmp_path / "missing")
    assert (listing.chains, listing.newest) == ((), "")


def test_a_last_line_that_was_torn_makes_its_file_an_orphan(tmp_path):
    text = "".join(map(line, PARTS))
    for cut in range(2, len(line(THIRD))):
        listing = ledger(tmp_path, text[:-cut])
        [chain] = listing.chains
        assert chain.parts == (FULL, SECOND)
        assert listing.orphans == (THIRD.name,)
        assert whats(listing) == ["line 3 cannot be read"]
        assert chain.mendable
    assert ledger(tmp_path, text[:-1]).problems == ()  # only the line end is missing


def test_two_entries_in_one_line(tmp_path):
    listing = ledger(tmp_path, line(FULL) + line(SECOND).rstrip() + line(THIRD, "/srv/backups/"))
    assert listing.chains[0].parts == PARTS
    assert listing.problems == ()


@pytest.mark.parametrize(
    ("parts", "broken"),
    [
        ((FULL, THIRD), "begins at byte 150, but 2026-03-01-12-00-00.fsz before it ends at"),
        ((FULL, SECOND, THIRD._replace(start=120)), "begins at byte 120"),
        ((FULL, SECOND, THIRD._replace(end=149)), "before it begins"),
        ((FULL, FULL), "second full backup"),
        ((FULL, SECOND, THIRD._replace(name="2026-03-02-11-00-00.deltafs")), "not later"),
        ((FULL, SECOND, THIRD._replace(name="2026-02-30-12-00-00.deltafs")), "does not exist"),
    ],
)
def test_lines_that_do_not_join_end_what_can_be_restored(tmp_path, parts, broken):
    listing = ledger(tmp_path, "".join(map(line, parts)), files=parts)
    [chain] = listing.chains
    good = len(parts) - 1
    assert chain.parts == parts[:good]
    assert chain.stray == parts[good:]
    assert broken in chain.broken
    assert not chain.mendable
    assert listing.orphans == ()
    assert any(broken in what for what in whats(listing))


@pytest.mark.parametrize(
    "parts",
    [(SECOND, THIRD), (FULL._replace(start=4),), (FULL._replace(name="2027" + FULL.name[4:]),), ()],
)
def test_a_ledger_without_its_full_backup_is_no_chain(tmp_path, parts):
    listing = ledger(tmp_path, "".join(map(line, parts)))
    assert listing.chains == ()
    assert "it names no full backup" in whats(listing)
    assert listing.orphans == tuple(part.name for part in PARTS)


def test_a_line_that_cannot_be_read_in_the_middle_cannot_be_mended(tmp_path):
    listing = ledger(tmp_path, line(FULL) + "garbage\n" + line(SECOND))
    [chain] = listing.chains
    assert chain.parts == (FULL, SECOND)
    assert chain.unread == (2,)
    assert not chain.mendable


def test_missing_files_are_named_with_what_can_still_be_restored(tmp_path):
    listing = ledger(tmp_path, "".join(map(line, PARTS)), files=(FULL, THIRD))
    [chain] = listing.chains
    assert chain.missing == (SECOND.name,)
    assert chain.restorable == (FULL,)
    [problem] = listing.problems
    assert problem.where == str(tmp_path / SECOND.name)
    assert problem.hint == f"the chain {FULL.stamp} can be restored up to {FULL.stamp}"


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_what_can_be_restored_ends_before_a_missing_file(tmp_path, missing):
    files = [part for part in PARTS if part is not PARTS[missing]]
    [chain] = ledger(tmp_path, "".join(map(line, PARTS)), files=files).chains
    assert [chain.is_restorable(part) for part in PARTS] == [n < missing for n in range(3)]
    assert chain.restorable == PARTS[:missing]


def test_a_year_of_hours_in_one_chain_costs_a_few_calls_for_each_part(tmp_path):
    """As many looks as parts: if each went through all of them, it would be 76 million."""
    begin = datetime(2026, 1, 1, tzinfo=timezone.utc)
    stamps = [stamp(begin + timedelta(hours=hour)) for hour in range(24 * 365)]
    parts = tuple(
        Part(f"{each}.deltafsz", 100 * n, 100 * n + 100, "0" * 32) for n, each in enumerate(stamps)
    )
    chain = Chain(tmp_path, stamps[0], parts, missing=(parts[-1].name,))
    found: list[bool] = []
    assert calls(lambda: found.extend(map(chain.is_restorable, chain.parts))) < 20 * len(parts)
    assert sum(found) == len(parts) - 1


def test_every_flipped_bit_of_a_ledger_is_seen():
    text = render(PARTS)
    for offset in range(len(text)):
        for bit in range(8):
            data = bytearray(text)
            data[offset] ^= 1 << bit
            lines = parse(bytes(data), directory=_NOWHERE)
            assert lines.entries != PARTS or lines.unread


@pytest.mark.parametrize(
    "data", [b"\0" * 100, b"\xff\xfe\n", b" 0 0 \n\n\n", b"x" * 100_000, b"9" * 50 + b" " * 50]
)
def test_anything_can_stand_in_a_ledger(data):
    assert parse(data, directory=_NOWHERE).entries == ()


@pytest.mark.parametrize("suffix", ["fs", "fsz", "deltafs", "deltafsz"])
def test_only_names_with_a_stamp_and_a_known_suffix_are_data_files(suffix):
    assert is_data_file(f"2026-03-01-12-00-00.{suffix}")
    for ending in (".orphan", ".0123abcd.partial", "x", "\n"):
        assert not is_data_file(f"2026-03-01-12-00-00.{suffix}{ending}")


def test_foreign_files_are_nothing_to_us(tmp_path):
    for name in ("notes.txt", "2026-03-01-12-00-00.json", "2099-01-01-00-00-00.txt", "x.dat"):
        (tmp_path / name).touch()
    (tmp_path / "2026-03-01-12-00-00").mkdir()
    (tmp_path / "2026-03-01-12-00-00.fs").mkdir()
    (tmp_path / "2026-03-01-12-00-00.dat").mkdir()
    listing = read_directory(tmp_path)
    assert (listing.chains, listing.orphans, listing.problems, listing.newest) == ((), (), (), "")


class _Nowhere:
    def __fspath__(self):
        return "/nowhere"


_NOWHERE = _Nowhere()
