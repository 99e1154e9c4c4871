"""The settings with which a directory is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collective.recipe.backup.destinations.directory.blobpart import MakeStyle, each_chain
from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.model import DEFAULT_LEVEL

if TYPE_CHECKING:
    from collective.recipe.backup.destinations.directory.program import Repozo


@dataclass(frozen=True, kw_only=True)
class DirectorySettings:
    """The values of the options that matter for one directory destination."""

    level: int | None = DEFAULT_LEVEL  # of gzip; None: do not compress
    strict: bool = False  # compare the whole of what was backed up, not its end alone
    merged_later: bool = False  # incremental parts are small; the merge will compress them
    repozo: Repozo | None = None  # the program that writes and reads the filestorage part
    blobs: MakeStyle = each_chain  # makes the style in which blobs are kept
    named: str | None = None  # how the other site calls its blobstorage; None: as the source does
