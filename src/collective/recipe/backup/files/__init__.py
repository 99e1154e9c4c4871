"""The only rooms that change a disk.

Order of writes is design: see writes for files and trees.  Whoever dies in between leaves a
``*.partial`` behind, which nobody takes for anything else and which the next run sweeps away.

What nobody needs to restore anything (modes, owners, times, the sync of a directory, a link
for convenience) is done as far as the file system lets us: see ``Changes._try``.  FAT, SMB and
FUSE refuse some of it.

Each room adds to what the one before it can do: changes, directories, entries, writes, copies.
"""

from __future__ import annotations

from collective.recipe.backup.files.copies import Copies


class Files(Copies):
    """Changes to a disk.

    What comes to be under a final name is durable once the method has returned.  What was
    removed may come back after a power cut, and whoever removes must be able to do it twice.
    Every path may hold any byte that the file system allows.  Errors are OSErrors.
    """
