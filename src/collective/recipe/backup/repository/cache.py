"""The cache of a repository on this machine: one SQLite file, which only saves work.

All of it can be read from the store again, so a file that is damaged, of another repository or of
another release is dropped and begun anew.  Without a place for it, it is a temporary file of
SQLite's own.

The contents of objects lie here in the clear, so that a run which finds nothing new needs no
passphrase; the file is for its owner alone. A digest tells whether the disk has damaged it.

Most of the file are the places of chunks. A wrong place could make a backup leave out a chunk that
is not stored.  So each such row has a CRC-32 over all of it, and a row whose CRC-32 does not fit
counts as none.

Several processes may use one file, and several threads one Cache. Each change is one transaction; a
process that finds the file busy waits for a while.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import TypeVar

from blake3 import blake3

from collective.recipe.backup.files import Files

T = TypeVar("T")

VERSION = 1
_UNSAVED = 64
_LARGE = 1 << 16
"""Objects that wait to be kept, and bytes of one that does not wait."""

_WAIT = 20.0
"""Seconds that one process waits for another to finish a change."""

_OPEN = " open"
"""Suffix of the name under which the cache has the content of an object, no longer sealed.

No object has a name that ends so.
"""

_DIGEST = 32

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS catalogs (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS bundles (
    number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, salt BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS mentions (
    catalog INTEGER NOT NULL, bundle INTEGER NOT NULL, PRIMARY KEY (catalog, bundle))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chunks (
    id BLOB NOT NULL, bundle INTEGER NOT NULL, kind INTEGER NOT NULL, form INTEGER NOT NULL,
    offset INTEGER NOT NULL, stored INTEGER NOT NULL, size INTEGER NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY (id, bundle)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS copies (
    target BLOB NOT NULL, source BLOB NOT NULL, id BLOB NOT NULL, PRIMARY KEY (target, source))
    WITHOUT ROWID;
"""

Tell = Callable[[str], None]
"""Called with a line for the user."""


class Cache:
    """The file, open, at *path* (None: there is no place for it).

    After an error of SQLite the file is begun anew, and ``generation`` is another number: a caller
    that needs its former content has to read the store again.
    """

    def __init__(self, path: Path | None, files: Files, tell: Tell) -> None:
        self._path = path
        self._files = files
        self._tell = tell
        self.generation = 0
        self._unsaved: dict[str, bytes] = {}
        self._lock = RLock()
        self.database = self._opened()

    def _opened(self) -> sqlite3.Connection:
        if self._path is None:
            return _temporary()
        try:
            return _connected(self._path, self._files)
        except (sqlite3.Error, OSError) as error:
            return self._again(self._path, error)

    def _again(self, path: Path, error: Exception) -> sqlite3.Connection:
        """Drop the file for what *error* says, and begin another one, here or elsewhere."""
        self._tell(f"the cache of the repository is dropped, and made anew: {error}")
        try:
            self._remove(path)
            return _connected(path, self._files)
        except (sqlite3.Error, OSError):
            self._path = None
            return _temporary()

    def _remove(self, path: Path) -> None:
        for each in (path, path.with_name(f"{path.name}-journal")):
            with suppress(FileNotFoundError):
                self._files.remove(each)

    def attempt(self, function: Callable[[], T]) -> T | None:
        """Return what *function* does; if SQLite fails in it, begin anew, and return None.

        One thread does so at a time.
        """
        with self._lock:
            try:
                return function()
            except sqlite3.Error as error:
                self._renew(error)
                return None

    def _renew(self, error: Exception) -> None:
        self.generation += 1
        with suppress(sqlite3.Error):
            self.database.close()
        if self._path is None:
            self.database = _temporary()
        elif _is_busy(error):
            # another process is at it for longer than we wait: its work is not to be lost
            self._tell("the cache of the repository is in use; this run works without it")
            self._path = None
            self.database = _temporary()
        else:
            self.database = self._again(self._path, error)

    def belongs_to(self, repository: bytes, *, accept: bool = False) -> bool:
        """Tell whether it is of the repository with this id, as it is from now on if it is of none.

        With *accept*, everything is dropped if it is of another one.
        """
        known = self.get("repository")
        if known is not None and known != repository:
            if not accept:
                return False
            self._renew(ValueError("it is of another repository"))
        if known != repository:
            self.set("repository", repository)
        return True

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Cursor]:
        """Yield a cursor for one transaction, which is taken back if the body fails."""
        with closing(self.database.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
            except BaseException:
                with suppress(sqlite3.Error):
                    cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")

    def get(self, key: str) -> bytes | None:
        """Return what ``set`` was given for *key*."""
        return self._value("SELECT value FROM about WHERE key = ?", key)

    def set(self, key: str, value: bytes | None) -> None:
        """Keep *value* for *key*; None removes it."""
        if value is not None and self.get(key) == value:
            return
        if value is None:
            self._change("DELETE FROM about WHERE key = ?", [(key,)])
        else:
            self._change("INSERT OR REPLACE INTO about VALUES (?, ?)", [(key, value)])

    def keep(self, name: str, data: bytes) -> None:
        """Keep an object of the store, which never changes; it is written with others."""
        self._unsaved[name] = data
        if len(self._unsaved) >= _UNSAVED or len(data) >= _LARGE:
            self._save()

    def kept(self, name: str) -> bytes | None:
        """Return the object *name*, if it is kept.  The caller compares its ID."""
        if name in self._unsaved:
            return self._unsaved[name]
        return self._value("SELECT value FROM kept WHERE name = ?", name)

    def keep_open(self, name: str, contents: bytes) -> None:
        """Keep what the object *name* holds, in the clear, once it was found to be authentic."""
        self.keep(f"{name}{_OPEN}", _digest(name, contents) + contents)

    def kept_open(self, name: str) -> bytes | None:
        """Return what the object *name* holds, if that is kept and not damaged."""
        found = self.kept(f"{name}{_OPEN}") or b""
        digest, contents = found[:_DIGEST], found[_DIGEST:]
        return contents if digest == _digest(name, contents) else None

    def _save(self) -> None:
        rows, self._unsaved = list(self._unsaved.items()), {}
        if rows:
            self._change("INSERT OR REPLACE INTO kept VALUES (?, ?)", rows)

    def keep_only(self, prefix: str, names: Collection[str]) -> None:
        """Let go of the kept objects whose names begin with *prefix* and are not in *names*."""
        self._save()
        query = "SELECT name FROM kept WHERE substr(name, 1, ?) = ?"
        row = len(prefix), prefix
        found = self.attempt(lambda: self.database.execute(query, row).fetchall()) or ()
        gone = [(name,) for (name,) in found if name.removesuffix(_OPEN) not in names]
        if gone:
            self._change("DELETE FROM kept WHERE name = ?", gone)

    def _value(self, query: str, key: str) -> bytes | None:
        row = self.attempt(lambda: self.database.execute(query, (key,)).fetchone())
        return bytes(row[0]) if row else None

    def _change(self, statement: str, rows: Sequence[tuple[str | bytes, ...]]) -> None:
        def change() -> None:
            with self.changing() as cursor:
                cursor.executemany(statement, rows)

        self.attempt(change)

    def close(self) -> None:
        """Write all pending changes, and close the file."""
        self._save()
        self.database.close()


def _digest(name: str, contents: bytes) -> bytes:
    return blake3(name.encode() + b"\0" + contents).digest()


def _connected(path: Path, files: Files) -> sqlite3.Connection:
    # made by us, for its owner alone; SQLite would let the umask decide
    if not path.exists():
        files.make_directories(path.parent)
        with suppress(FileExistsError), files.creating(path):
            pass
    database = sqlite3.connect(path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
    try:
        for line in (
            "PRAGMA journal_mode = TRUNCATE",
            # a power cut may cost the file: that is found, and costs work
            "PRAGMA synchronous = NORMAL",
        ):
            database.execute(line).fetchall()
        _set_up(database)
    except BaseException:
        database.close()
        raise
    return database


def _temporary() -> sqlite3.Connection:
    # not ":memory:": SQLite writes what is too much for memory to a file without a name
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    for line in ("PRAGMA journal_mode = MEMORY", "PRAGMA synchronous = OFF"):
        database.execute(line).fetchall()
    _set_up(database)
    return database


def _set_up(database: sqlite3.Connection) -> None:
    for line in (
        "PRAGMA cache_size = -8000",
        "PRAGMA temp_store = FILE",
    ):
        database.execute(line).fetchall()
    (found,) = database.execute("PRAGMA user_version").fetchone()
    if found == VERSION:
        return
    if found:
        raise sqlite3.DatabaseError(f"another release wrote it (version {found})")
    database.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")


def _is_busy(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorname", "") or str(error)
    return "BUSY" in code or "locked" in code
