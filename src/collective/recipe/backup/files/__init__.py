"""The only rooms that change a disk.

The order of writes is part of the design: see writes for files and trees.  A run that dies in
between leaves a ``*.partial`` behind, which no reader takes for a final file and which the next run
removes.

Calls that no restore depends on (modes, owners, times, the sync of a directory, a link for
convenience) may fail: see ``Changes._try``.  FAT, SMB and FUSE refuse some of them.

Each room adds to what the one before it can do: changes, directories, entries, writes, copies.
"""

from __future__ import annotations

from collective.recipe.backup.files.copies import Copies


class Files(Copies):
    """Changes to a disk.

    A file under its final name is durable once the method has returned.  A removed file may come
    back after a power cut, so callers must be able to remove it twice.  Every path may hold any
    byte that the file system allows.  Errors are OSErrors.
    """
