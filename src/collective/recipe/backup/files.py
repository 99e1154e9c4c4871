"""The only room that changes a disk.

Order of writes is design.  A file comes to be in four steps: written under a temporary
name in the directory of its final one, fsynced, renamed, the directory fsynced.  A tree
comes to be the same way, with one sync of its file system in place of thousands.  Whoever
dies in between leaves a ``*.partial`` behind, which nobody takes for anything else and
which the next run sweeps away.  Whoever lives holds a lock on the file under its temporary
name until that is final, so what a writer without the lock of a run is at is not swept away.

Each single change goes through ``Files._change``; the fault tests put their hand there.

Root changes nothing outside of the directories that it was told of, whatever their owner
does meanwhile: names are those of a directory that is held (see held), and owners, modes and
times are given to what is open.

What nobody needs to restore anything (modes, owners, times, the sync of a directory, a link
for convenience) is done as far as the file system lets us: see ``Files._try``.  FAT, SMB and
FUSE refuse some of it.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

from collective.recipe.backup import held, listings
from collective.recipe.backup.audience import audience_of
from collective.recipe.backup.descent import Descent
from collective.recipe.backup.errors import names_a_path, naming
from collective.recipe.backup.held import StrPath
from collective.recipe.backup.smallfile import NotRegularError, regular
from collective.recipe.backup.unreadable import CannotReadError, CutShortError, unreadable

P = ParamSpec("P")
T = TypeVar("T")

PROBE = ".backup"
"""What a temporary name begins with that stands for nothing."""

_PARTIAL = re.compile(r"(.+)\.[0-9a-f]{8}\.partial", re.DOTALL)
_COPY_SIZE = 1 << 20
_FICLONE = 0x40049409  # from linux/fs.h; Python names it from 3.12 on
_REFUSED = {
    errno.EPERM,
    errno.EACCES,
    errno.EINVAL,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EOVERFLOW,  # an owner that this user namespace does not know
}
"""What a file system says that cannot do something at all, or not for us."""
_OF_DATA = 0o777
_NEVER_CLONE = {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY}
# which of the two files EIO is of, only a read and a write can tell
_NO_CLONE = {*_NEVER_CLONE, errno.EINVAL, errno.EPERM, errno.EIO}
_NO_COPY_RANGE = {*_REFUSED, errno.EXDEV, errno.EBADF}
_NO_LINK = {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}
_NAMES_ANOTHER = {"link", "symlink"}
"""Operations whose errors name first what is linked to."""
_NOT_EMPTY = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT}
_NO_RENAME = {errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM}
_IN_THE_WAY = {errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR}


Observe = Callable[[memoryview], object]
"""Called with the bytes of a file, piece by piece, while they are copied."""


_OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class ExchangedError(OSError):
    """What lies at a path is not what was made there: its directory belongs to somebody else."""

    hint = "find out which program changes this directory, and stop it; then run the command again"


class Writer:
    """An open file under its temporary name."""

    def __init__(self, files: Files, path: StrPath, descriptor: int) -> None:
        """Write to *descriptor*, which stays its opener's to close."""
        self.path = path
        self.descriptor = descriptor
        self.size = 0
        self._files = files

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write all of *data*; return its length in bytes."""
        view = memoryview(data).cast("B")
        size = len(view)
        while view:
            view = view[self._files._change("write", self.path, os.write, self.descriptor, view) :]
        self.size += size
        return size


class Files:
    """Changes to a disk.

    What comes to be under a final name is durable once the method has returned.  What was
    removed may come back after a power cut, and whoever removes must be able to do it twice.
    Every path may hold any byte that the file system allows.  Errors are OSErrors.
    """

    def __init__(self, token: Callable[[], str] = lambda: os.urandom(4).hex()) -> None:
        """Take *token*, which returns 8 hex digits that were not used before."""
        self._token = token
        self._unclonable: set[tuple[int, int]] = set()
        self._sources: dict[str, set[str]] = {}

    def limit(self, directory: StrPath, source: StrPath) -> None:
        """Open to no more users than *source* what comes to be at *directory* and below.

        That goes for all files and directories of ours there; copies of single files keep the
        permissions of what they are copies of.  While there is no *source*, they are open to
        their owner alone.
        """
        self._sources.setdefault(os.fspath(directory), set()).add(os.fspath(source))

    def _limited(self, path: StrPath, mode: int) -> int:
        """Return what is left of *mode* for a new file or directory at *path*."""
        text = os.fspath(path)
        for directory, sources in self._sources.items():
            if text == directory or text.startswith(f"{directory}/"):
                group = _group_in(os.path.dirname(text))
                for source in sources:
                    mode &= audience_of(source, beside=text).mask(group)
        return mode

    def _change(
        self,
        operation: str,
        path: StrPath,
        function: Callable[P, T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Return what *function* returns, which changes *path*; its errors name that."""
        try:
            return function(*args, **kwargs)
        except OSError as error:
            if operation in _NAMES_ANOTHER or not names_a_path(error):
                error.filename = os.fspath(path)
                del error.filename2
            raise

    def _try(
        self,
        operation: str,
        path: StrPath,
        function: Callable[P, object],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> bool:
        """Make a change that nobody depends on; False where the file system refuses it.

        A disk that is broken or full does not refuse: that raises.
        """
        try:
            self._change(operation, path, function, *args, **kwargs)
        except OSError as error:
            if error.errno in _REFUSED:
                return False
            raise
        return True

    def denied_in(self, directory: Path) -> int:
        """Return the permission bits that nothing new in *directory* may have; see limit."""
        return _OF_OTHERS & ~self._limited(directory / PROBE, 0o777)

    # files

    @contextmanager
    def writing(self, final: Path, mode: int = 0o666) -> Iterator[Writer]:
        """Yield a Writer; *final* comes to be, whole and durable, when the body succeeds.

        A *final* that exists is replaced at that moment, not before.  When the body
        fails, nothing is left.
        """
        with self._making(final, mode) as writer:
            yield writer
            self._change("fsync", writer.path, os.fsync, writer.descriptor)
            self.rename(Path(writer.path), final)

    @contextmanager
    def unnamed(self, final: Path, mode: int = 0o666) -> Iterator[Writer]:
        """Yield a Writer of what is to be *final* later; when the body succeeds it is durable.

        It keeps its temporary name, the *path* of the Writer, until it is given to ``name``.
        """
        with self._making(final, mode) as writer:
            yield writer
            self._change("fsync", writer.path, os.fsync, writer.descriptor)

    @contextmanager
    def _making(self, final: Path, mode: int) -> Iterator[Writer]:
        """Yield a Writer under a temporary name, which is locked; if the body fails it is gone."""
        while True:
            partial = self.partial_name(final)
            descriptor, directory = self._create(partial, self._limited(final, mode))
            try:
                if not _is_held(descriptor, partial):
                    # a sweep came before the lock
                    self.discard(partial)
                    continue
                self._hand_over(partial, descriptor, directory)
                yield Writer(self, partial, descriptor)
                return
            except BaseException:
                self.discard(partial)
                raise
            finally:
                os.close(descriptor)

    def name(self, partial: Path, final: Path) -> None:
        """Let what is whole under a temporary name be *final*; if that fails it is gone."""
        try:
            self.rename(partial, final)
        except BaseException:
            self.discard(partial)
            raise

    @contextmanager
    def scratch(self, final: Path) -> Iterator[Writer]:
        """Yield a Writer for what is needed only while *final* is made, and is read again.

        The file lies beside *final* and is gone after the body.
        """
        partial = self.partial_name(final)
        descriptor, _directory = self._create(partial, 0o600, os.O_RDWR)
        try:
            yield Writer(self, partial, descriptor)
        finally:
            os.close(descriptor)
            self.discard(partial)

    def _create(
        self, path: StrPath, mode: int, flags: int = os.O_WRONLY
    ) -> tuple[int, os.stat_result]:
        """Make a file that must not be there; return a descriptor, and what its directory is."""
        with held.place(path) as at:
            directory = at.directory_status()
            flags |= os.O_CREAT | os.O_EXCL
            return self._change("create", path, at.open, flags, mode), directory

    def write(self, final: Path, data: bytes, mode: int = 0o666) -> None:
        """Make *final* hold *data*, in one step for all who read it."""
        with self.writing(final, mode) as writer:
            writer.write(data)

    def publish(self, path: Path, data: bytes, mode: int | None = None) -> None:
        """Make the file that a user has named hold *data*, in one step.

        It gets just this *mode*, whatever the umask (None: that of the file whose place it
        takes; if there is none, the umask and the limit say which).
        A symbolic link is followed, by root as held says.  Raises NotRegularError for what is
        no file: a device or a pipe would be gone, and others use it.
        """
        final = Path(held.real(path))
        if os.path.lexists(final) and not final.is_file():
            raise NotRegularError(errno.EINVAL, "not a regular file", os.fspath(path))
        # what a run that was killed has left here, as far as this user may look for it
        with suppress(OSError):
            self.sweep(final.parent, of=final.name, alone=False)
        if mode is None and final.exists():
            mode = final.stat().st_mode & 0o666
        with self.writing(final, 0o666 if mode is None else mode) as writer:
            writer.write(data)
            if mode is not None:
                self._try("chmod", writer.path, os.fchmod, writer.descriptor, mode)

    def append(self, path: Path, data: bytes) -> None:
        """Add *data* at the end of *path* and fsync it.  Not atomic: for logs only.

        A symbolic link is not followed but an error: it could lead to live data.
        """
        flags = os.O_WRONLY | os.O_APPEND
        directory = None
        if os.path.lexists(path):
            descriptor = self._change("create", path, regular, path, flags | os.O_NOFOLLOW)
        else:
            descriptor, directory = self._create(path, self._limited(path, 0o666), flags)
        try:
            if directory is not None:
                self._hand_over(path, descriptor, directory)
            Writer(self, path, descriptor).write(data)
            self._change("fsync", path, os.fsync, descriptor)
        finally:
            os.close(descriptor)
        if directory is not None:
            self.sync_directory(path.parent)

    def check_writable(self, path: Path) -> None:
        """Raise OSError if this user may not write into *path*, or it is no regular file."""
        os.close(self._change("try", path, regular, path, os.O_WRONLY | os.O_NOFOLLOW))

    @contextmanager
    def overwriting(self, path: Path, offset: int) -> Iterator[Writer]:
        """Yield a Writer into *path* from *offset* on; what is written last is its end.

        Not made in one step: only under a journal that can do it again.  A symbolic link is
        not followed but an error.
        """
        descriptor = regular(path, os.O_WRONLY | os.O_NOFOLLOW)
        try:
            os.lseek(descriptor, offset, os.SEEK_SET)
            writer = Writer(self, path, descriptor)
            yield writer
            end = offset + writer.size
            self._change("truncate", path, os.ftruncate, descriptor, end)
            self._change("fsync", path, os.fsync, descriptor)
        finally:
            os.close(descriptor)

    def copy(
        self,
        source: StrPath,
        target: StrPath,
        *,
        sync: bool = True,
        observe: Observe | None = None,
        size: int | None = None,
    ) -> int:
        """Copy a regular file with its times, mode and, for root, owner; return the bytes copied.

        *target* must not exist and must be a temporary name or lie in a staged tree, for
        it is not made in one step.  Without *sync* the caller syncs the tree.  A symbolic
        link as *source* is not followed but an error.  *observe* is called with all bytes
        in their order, which then are read once for it and for the copy.

        *size* is that of a file that never changes (None: it may).  Raises CannotReadError
        if *source* cannot be read, CutShortError if it ends early or has not that *size*
        before and after; then *target* is gone.
        """
        try:
            reader = regular(source, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError as error:
            raise unreadable(error, source) from error
        try:
            status = os.fstat(reader)
            # what its owner may do with it then, for whom alone it is until it is whole
            descriptor, _directory = self._create(target, status.st_mode & stat.S_IRWXU)
            try:
                made = os.fstat(descriptor)
                writer = Writer(self, target, descriptor)
                devices = status.st_dev, made.st_dev
                with naming(source):  # what fails and is no change is a read
                    copied = self._take(reader, writer, devices, observe)
                    _check_end(reader, status.st_size, copied, size)
                self._keep_status(target, descriptor, status, made)
                if sync:
                    self._change("fsync", target, os.fsync, descriptor)
            finally:
                os.close(descriptor)
        except CannotReadError as error:
            self.discard(Path(target))
            error.filename = os.fspath(source)  # the kernel names no file
            raise
        finally:
            os.close(reader)
        return copied

    def _take(
        self, reader: int, writer: Writer, devices: tuple[int, int], observe: Observe | None
    ) -> int:
        """Copy all bytes of *reader*; return how many they were."""
        if not self._clone(reader, writer, devices):
            return self._fill(reader, writer, observe)
        return _read_through(reader, observe) if observe else os.fstat(writer.descriptor).st_size

    @contextmanager
    def filling(self, target: Path, like: os.stat_result) -> Iterator[Writer]:
        """Yield a Writer of *target*, which gets mode, times and, for root, owner of *like*.

        As with copy it must not exist and must lie in a staged tree, which the caller syncs.
        """
        descriptor, _directory = self._create(target, 0o600)
        try:
            yield Writer(self, target, descriptor)
            self._keep_status(target, descriptor, like, os.fstat(descriptor))
        finally:
            os.close(descriptor)

    def _keep_status(
        self, target: StrPath, descriptor: int, like: os.stat_result, made: os.stat_result
    ) -> None:
        """Give a file that was *made* so what it lacks to be *like* another one."""
        self._keep_rights(target, descriptor, like, made)
        times = (like.st_atime_ns, like.st_mtime_ns)
        self._try("utime", target, os.utime, descriptor, ns=times)

    def _keep_rights(
        self, target: StrPath, descriptor: int, like: os.stat_result, made: os.stat_result
    ) -> None:
        """Give what was *made* so the mode, the group and, for root, the owner of another one.

        No file gets a bit that lends its owner's rights to who executes it: no data needs
        it, and others may have written what root restores.  A directory stays open to its owner.
        """
        mode = self._adopted(target, descriptor, like, made)
        mode = mode | stat.S_IRWXU if stat.S_ISDIR(made.st_mode) else mode & _OF_DATA
        if stat.S_IMODE(made.st_mode) != mode:
            self._try("chmod", target, os.fchmod, descriptor, mode)

    def _adopted(
        self, path: StrPath, descriptor: int, like: os.stat_result, made: os.stat_result
    ) -> int:
        """Give what was *made* the group and, for root, the owner of another one.

        Returns the mode that it may have.  Where it cannot have the group, members of its own
        get no more than others have.
        """
        mode, uid = stat.S_IMODE(like.st_mode), like.st_uid if os.geteuid() == 0 else -1
        same = made.st_gid == like.st_gid
        if (not same or uid not in {-1, made.st_uid}) and not self._try(
            "chown", path, os.fchown, descriptor, uid, like.st_gid
        ):
            return mode if same else mode & ~stat.S_IRWXG | (mode & stat.S_IRWXO) << 3
        return mode

    def _hand_over(self, path: StrPath, descriptor: int, directory: os.stat_result) -> None:
        """Give what root has just made to the owner of its *directory*, who must go on with it.

        Who once runs a command as root is not to stop those of the site's own user.
        """
        if os.geteuid() == 0 and directory.st_uid:
            self._try("chown", path, os.fchown, descriptor, directory.st_uid, directory.st_gid)

    def _fill(self, reader: int, writer: Writer, observe: Observe | None) -> int:
        """Copy the bytes from *reader* up to its end; return the size."""
        if observe is None:
            return self._pour(reader, writer)
        # as fast as the kernel's copy and a second reading for the observer
        return _read_through(reader, observe, writer)

    def _clone(self, reader: int, writer: Writer, devices: tuple[int, int]) -> bool:
        """Share the blocks of the file, where the file system can."""
        if devices in self._unclonable:
            return False
        try:
            self._change("clone", writer.path, fcntl.ioctl, writer.descriptor, _FICLONE, reader)
        except OSError as error:
            if error.errno in _NEVER_CLONE:
                self._unclonable.add(devices)
            if error.errno in _NO_CLONE or error.errno == errno.EIO:
                return False  # of EIO nobody knows which of both files it is: reading tells
            raise
        return True

    def _pour(self, reader: int, writer: Writer) -> int:
        """Copy from *reader* up to the end; in the kernel where it can."""
        done = 0
        while True:
            try:
                step = self._change(
                    "write",
                    writer.path,
                    os.copy_file_range,
                    reader,
                    writer.descriptor,
                    1 << 30,
                )
            except OSError as error:
                if error.errno != errno.EIO and (done or error.errno not in _NO_COPY_RANGE):
                    raise
                step = 0
            if not step:
                # the end; a file system (procfs, old overlays) that cannot tell; or EIO, of which
                # nobody knows which of both files it is
                return done + _read_through(reader, None, writer)
            done += step

    def publish_copy(  # noqa: PLR0913  what copy takes, and where
        self,
        source: Path,
        final: Path,
        *,
        observe: Observe | None = None,
        size: int | None = None,
        room: Path | None = None,
        sync: bool = True,
    ) -> int:
        """Copy *source* to *final*, whole and durable, in one step for those who look.

        Until then it lies in the directory *room*, on the same file system, by default
        beside *final*.  Without *sync* it is durable once the caller has synced the
        directory of *final*: of many in one directory, or of many directories at once.
        """
        partial = self.partial_name(room / final.name if room else final)
        try:
            copied = self.copy(source, partial, observe=observe, size=size)
            (self.rename if sync else self.move)(partial, final)
        except BaseException:
            self.discard(partial)
            raise
        return copied

    def link(self, source: StrPath, target: StrPath) -> bool:
        """Hard link *target* to *source*; False where the file system cannot."""
        try:
            self._change("link", target, held.link, source, target)
        except OSError as error:
            if error.errno in _NO_LINK:
                return False
            raise
        return True

    def symlink(self, text: str, final: Path) -> None:
        """Make *final* a symbolic link to *text*, in one step even if it is one already."""
        partial = self.partial_name(final)
        self._change("symlink", partial, held.symlink, text, partial)
        try:
            self.rename(partial, final)
        except BaseException:
            self.discard(partial)
            raise

    def point(self, link: Path, text: str) -> bool:
        """Make *link* a symbolic link to *text* for convenience; False where there are none."""
        try:
            self.symlink(text, link)
        except OSError as error:
            if error.errno in _REFUSED:
                return False
            raise
        return True

    def rename(self, source: Path, target: Path) -> None:
        """Rename within a file system and make both directories durable."""
        self._change("rename", target, held.rename, source, target)
        self.sync_directory(target.parent)
        if source.parent != target.parent:
            self.sync_directory(source.parent)

    def move(self, source: Path, target: Path) -> None:
        """Rename within a file system; not durable before the trees of both are synced."""
        self._change("rename", target, held.rename, source, target)

    @contextmanager
    def trying_renames(self, room: Path) -> Iterator[Callable[[Path], OSError | None]]:
        """Yield what tells why a path cannot be renamed into *room*, None if it can.

        Nothing moves: the new name is that of a directory that is not empty, which no
        rename may replace, and the other reasons against a rename come before that one.
        For a file one reason remains untold: something that is mounted on it.  Raises
        OSError if nothing can be made in *room*, or nothing removed.
        """
        probe = self.partial_name(room / PROBE)
        try:
            self.make_directory(probe)
            self.make_directory(probe / PROBE)
        except OSError as error:
            self.discard(probe)
            # the name of the probe says nothing
            raise OSError(error.errno, error.strerror, os.fspath(room)) from error
        try:
            yield functools.partial(self._refusal, probe=probe)
        except BaseException:
            self.discard(probe)
            raise
        self.clear(probe)

    def _refusal(self, path: Path, probe: Path) -> OSError | None:
        try:
            self._change("try", path, held.rename, path, probe)
        except OSError as error:
            if error.errno in _NO_RENAME:
                return OSError(error.errno, error.strerror, os.fspath(path))
            if error.errno in _IN_THE_WAY:
                return None
            raise
        self.rename(probe, path)  # a file system that keeps to no rule
        return None

    def remove(self, path: Path) -> None:
        """Remove one file or symbolic link."""
        self._change("unlink", path, held.unlink, path)

    def touch(self, path: Path, times: tuple[int, int]) -> bool:
        """Set access and modification time of *path*, in nanoseconds since 1970.

        False where the file system refuses.
        """
        return self._try("utime", path, held.utime, path, times)

    def chmod(self, path: StrPath, mode: int) -> bool:
        """Set the permission bits of *path*; False where the file system refuses."""
        return self._try("chmod", path, held.chmod, path, mode)

    def make_like(self, path: Path, original: os.stat_result) -> None:
        """Give a staged file the mode, the group and, for root, the owner of *original*.

        Raises ExchangedError if it has another name, which no staged file has.
        """
        descriptor = regular(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            made = os.fstat(descriptor)
            if made.st_nlink != 1:
                raise _exchanged(path)
            self._keep_rights(path, descriptor, original, made)
        finally:
            os.close(descriptor)

    # directories

    def make_directories(self, path: Path) -> None:
        """Make *path* and its parents where they are missing, durably."""
        missing = []
        while not path.is_dir():
            missing.append(path)
            if path == path.parent:
                break
            path = path.parent
        for directory in reversed(missing):
            self.make_directory(directory)
            self.sync_directory(directory.parent)

    def make_directory(self, path: Path, mode: int = 0o777) -> None:
        """Make one directory; not durable before its tree or its parent is synced."""
        mode = self._limited(path, mode)
        with held.place(path) as at:
            directory = at.directory_status()
            if self._make_directory(path, at, mode) and os.geteuid() == 0 and directory.st_uid:
                with _opened(at, new=True) as descriptor:
                    self._hand_over(path, descriptor, directory)

    def _make_directory(self, path: StrPath, at: held.HeldName, mode: int) -> bool:
        """Make one directory; False if it is there."""
        try:
            self._change("mkdir", path, at.make_directory, mode)
        except FileExistsError:
            if os.path.isdir(path):
                return False
            code = errno.ENOTDIR
            raise NotADirectoryError(code, os.strerror(code), os.fspath(path)) from None
        return True

    def make_directory_like(self, path: StrPath, original: os.stat_result) -> None:
        """Make one directory with the mode and, for root, the owner of *original*.

        Its own user may enter and change it, whatever the original says, so that it can be
        filled.  A link to a directory that was there stays as it is.  So does a directory that
        may be another one of root's, which the owner of the directory around it has put there.
        """
        mode = stat.S_IMODE(original.st_mode) | stat.S_IRWXU
        if original.st_gid != os.getegid():
            mode &= ~_OF_OTHERS  # it would be another group that has these
        with held.place(path) as at:
            new = self._make_directory(path, at, mode)
            if (not new and os.path.islink(path)) or (new and _is_like(at.status(), original)):
                return
            with _opened(at, new=new) as descriptor:
                made = os.fstat(descriptor)
                if new or os.geteuid() or not _is_perhaps_of_root(at, descriptor, made):
                    self._keep_rights(path, descriptor, original, made)

    @contextmanager
    def staging(self, final: Path) -> Iterator[Path]:
        """Yield a new directory that becomes *final*, whole and durable, if the body succeeds.

        *final* must not exist or be an empty directory.
        """
        partial = self.partial_name(final)
        self.make_directory(partial)
        try:
            yield partial
            self.sync_tree(partial)
            self.rename(partial, final)
        except BaseException:
            self.discard(partial)
            raise

    def remove_tree(self, path: Path) -> None:
        """Remove a directory with all in it.  Symbolic links are removed, never followed."""
        try:
            descent = Descent(path)
        except NotADirectoryError:
            self.remove(path)
            return
        with descent:
            self._empty(descent)
        self._change("rmdir", path, held.rmdir, path)

    def _empty(self, here: Descent) -> None:
        """Remove all that is in a directory."""
        waiting: list[list[str]] = [[]]  # directories of each one from the top down
        while waiting:
            if not waiting[-1]:
                waiting[-1], others = here.some_entries()
                for name in others:
                    self._remove_at(here, "unlink", os.unlink, name)
                if others and not waiting[-1]:
                    continue  # there may be more
            if waiting[-1]:
                here.down(waiting[-1].pop())
                waiting.append([])
                continue
            waiting.pop()
            if waiting:
                self._remove_at(here, "rmdir", os.rmdir, here.up())

    def _remove_at(
        self, here: Descent, operation: str, function: Callable[..., None], name: str
    ) -> None:
        path = here.path / name
        try:
            with listings.changing:
                self._change(operation, path, function, name, dir_fd=here.descriptor)
        except OSError as error:
            error.filename = os.fspath(path)
            raise

    def remove_empty(self, path: Path) -> bool:
        """Remove a directory if it is empty; False if it is not, or not there."""
        try:
            self._change("rmdir", path, held.rmdir, path)
        except OSError as error:
            if error.errno in _NOT_EMPTY:
                return False
            raise
        return True

    def clear(self, path: Path) -> None:
        """Remove *path*, whatever it is, if it is there."""
        if path.is_dir() and not path.is_symlink():
            self.remove_tree(path)
        elif path.is_symlink() or path.exists():
            self.remove(path)

    def sync_directory(self, path: Path) -> bool:
        """Make the entries of *path* durable; False where the file system refuses.

        Such file systems (some network ones) order their entries themselves, or cannot say.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return self._try("fsync", path, os.fsync, descriptor)
        finally:
            os.close(descriptor)

    def sync_tree(self, path: Path) -> None:
        """Make all below *path* durable: one sync of the file system it lies on.

        An fsync for each of 100,000 small files takes minutes.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._change("syncfs", path, _syncfs, descriptor)
        finally:
            os.close(descriptor)

    @staticmethod
    def write_back(path: Path) -> None:
        """Let the disk write what it has of the file system of *path*; this promises nothing.

        It is a part of the work of a sync_tree that comes later, done early.  Raises OSError
        as that would.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # what it fails to write, a later sync of another descriptor would not tell again
            _syncfs(descriptor)
        finally:
            os.close(descriptor)

    # debris

    def partial_name(self, final: Path) -> Path:
        """Return a temporary name beside *final* that no other run uses."""
        return final.with_name(f"{final.name}.{self._token()}.partial")

    def sweep(self, directory: Path, *, of: str = "", alone: bool = True) -> list[Path]:
        """Remove what died runs left in *directory*, but no file that a living writer is at.

        *of* is the final name of what is removed, "": every name of ours.  *alone* tells that
        the caller holds a lock against other runs; who does not removes only what no writer
        can be at: files that can be locked.
        Returns what was removed.  A directory that does not exist holds nothing.
        """
        try:
            found = [it for it in listings.entries(directory) if is_partial(it.name, of=of)]
        except FileNotFoundError:
            return []
        return [Path(entry) for entry in found if self._swept(entry, alone=alone)]

    def _swept(self, entry: os.DirEntry[str], *, alone: bool) -> bool:
        """Remove *entry*, a temporary name; False if a writer lives, or may live."""
        path = Path(entry)
        if entry.is_dir(follow_symlinks=False):
            if alone:
                self.remove_tree(path)
            return alone
        with _trying_lock(path) as is_dead:
            may_go = alone if is_dead is None else is_dead
            if may_go:
                # its writer may have given it its name meanwhile
                with suppress(FileNotFoundError):
                    self.remove(path)
        return may_go

    def discard(self, partial: Path) -> None:
        """Remove *partial* on the way out; an error under way is worth more than ours."""
        with suppress(OSError):
            self.clear(partial)


def nearest(path: Path) -> Path:
    """Return *path*, or the nearest directory above it that is there."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def is_partial(name: str, *, of: str = "") -> bool:
    """Tell whether *name* is a temporary name of ours, which no reader may take for data.

    With *of*: whether it is one of that final name.
    """
    match = _PARTIAL.fullmatch(name)
    return match is not None and of in {"", match[1]}


def _is_held(descriptor: int, partial: Path) -> bool:
    """Lock the new file *partial*; False if a sweep has removed it, or is about to.

    Where the file system has no locks, it counts as held.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return os.path.lexists(partial)


@contextmanager
def _trying_lock(path: Path) -> Iterator[bool | None]:
    """Yield whether no writer has the file *path* locked, None if that cannot be told."""
    try:
        # NFS lets only who may write lock for writing
        descriptor = regular(path, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        yield None
        return
    try:
        yield _is_lockable(descriptor)
    finally:
        os.close(descriptor)


def _is_lockable(descriptor: int) -> bool | None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _group_in(directory: str) -> int:
    """Return the id of the group that gets what we make in *directory*."""
    status = os.stat(directory)
    handed_over = os.geteuid() == 0 and status.st_uid
    return status.st_gid if handed_over or status.st_mode & stat.S_ISGID else os.getegid()


@contextmanager
def _opened(at: held.HeldName, *, new: bool) -> Iterator[int]:
    """Yield a descriptor of a directory; one that is *new* must be empty."""
    descriptor = at.open_directory()
    try:
        if new and os.geteuid() == 0 and _holds_something(at, descriptor):
            raise _exchanged(at.path)
        yield descriptor
    finally:
        os.close(descriptor)


def _is_like(made: os.stat_result, original: os.stat_result) -> bool:
    """Tell whether what was just made is a directory with all the rights of *original*."""
    mode = stat.S_IFDIR | stat.S_IMODE(original.st_mode) | stat.S_IRWXU
    owner = original.st_uid if os.geteuid() == 0 else made.st_uid
    return (made.st_mode, made.st_uid, made.st_gid) == (mode, owner, original.st_gid)


def _is_perhaps_of_root(at: held.HeldName, descriptor: int, found: os.stat_result) -> bool:
    """Tell whether a directory that was there has something of root, for another user to move."""
    if found.st_uid or not at.directory_status().st_uid:
        return False
    return _holds_something(at, descriptor)


def _holds_something(at: held.HeldName, descriptor: int) -> bool:
    with naming(at.path):
        return bool(os.listdir(descriptor))


def _exchanged(path: StrPath) -> ExchangedError:
    return ExchangedError(errno.ESTALE, "something else was put in its place", os.fspath(path))


def _read_through(reader: int, observe: Observe | None, writer: Writer | None = None) -> int:
    """Read what *reader* still holds and hand it on; return its size in bytes."""
    size = 0
    # many files are small: no more memory than they need
    room = min(os.fstat(reader).st_size + 1, _COPY_SIZE)
    while data := _read(reader, room):
        if observe:
            observe(memoryview(data))
        if writer:
            writer.write(data)
        size += len(data)
    return size


def _read(reader: int, room: int) -> bytes:
    try:
        return os.read(reader, room)
    except OSError as error:
        raise unreadable(error, "") from error  # who has opened it knows its name


def _check_end(reader: int, before: int, copied: int, expected: int | None) -> None:
    """Raise CutShortError unless all was copied of a file that had *before* bytes.

    *expected* is the size of a file that never changes, None of one that may.
    """
    after = os.fstat(reader).st_size
    if expected is None:
        expected = min(before, after)
        if copied >= expected:
            return
    if not expected == before == copied == after:
        raise CutShortError.of("", expected, copied)


def _syncfs(descriptor: int) -> None:
    import ctypes  # only who syncs a whole file system pays for it

    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is None:
        os.sync()
    elif function(descriptor):
        number = ctypes.get_errno()
        if number not in _REFUSED:
            raise OSError(number, os.strerror(number))
        os.sync()  # of all file systems, which nothing refuses
