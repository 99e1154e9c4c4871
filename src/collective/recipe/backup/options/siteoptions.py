"""Options: what is backed up, and the directories of the backups."""

from __future__ import annotations

from pathlib import Path

from collective.recipe.backup.frozen import dataclass
from collective.recipe.backup.options.declaring import Alias, Group, option
from collective.recipe.backup.options.optionkinds import LINES, PATH, PLACE, SWITCH


@dataclass(frozen=True, kw_only=True)
class SiteOptions:
    """The options of a site and of the directories of its backups."""

    # What is backed up

    datafs: Path | None = option(
        PATH,
        Group.SITE,
        None,
        "The filestorage.  A relative path starts at the directory of the buildout.",
        unset="``file-storage`` of the first Zope part that has it, "
        "else ``filestorage/Data.fs`` in the ``var`` directory",
    )
    blob_storage: Path | None = option(
        PATH,
        Group.SITE,
        None,
        "The blobstorage: the directory that holds the blobs.  A relative path starts at the "
        "directory of the buildout.  If both spellings are used, they must agree.",
        unset="``blob-storage`` of the first Zope part that has it, but for clients of a ZEO "
        "server without ``shared-blob``, which only cache blobs there; else ``blobstorage`` in "
        "the ``var`` directory if there is a Zope part, else there is none",
        aliases=(Alias(name="blob-storage"),),
    )
    backup_blobs: bool = option(
        SWITCH,
        Group.SITE,
        True,
        "Back up and restore the blobs as well.  Needs a blobstorage: set this to ``false`` "
        "if the site has none.",
    )
    only_blobs: bool = option(
        SWITCH,
        Group.SITE,
        False,
        "Back up and restore the blobs alone; another program backs up the filestorage.",
    )
    additional_filestorages: tuple[str, ...] = option(
        LINES,
        Group.SITE,
        (),
        "More filestorages, one on each line: ``NAME [DATAFS [BLOBDIR]]``.  Without DATAFS it "
        "is ``NAME.fs`` beside ``datafs``; without BLOBDIR that storage has no blobs.  Its "
        "backups lie in the directories of the main storage with ``_NAME`` added.  They are "
        "backed up in the order of the lines, the main storage last.  A path with white "
        "space is written in quotes.",
    )
    # Where the backups lie

    locationprefix: Path | None = option(
        PATH,
        Group.PLACES,
        None,
        "Where the directories below lie if nothing is said of them, and where their relative "
        "paths start.  A relative path here starts at the directory of the buildout.",
        unset="``zeo-var`` of the first Zope part that has it, else ``var`` of the first that "
        "has it, else ``var`` in the directory of the buildout",
    )
    location: Path | None = option(
        PLACE,
        Group.PLACES,
        None,
        "Directory of the filestorage backups of ``bin/backup``.  A relative path starts at "
        "``locationprefix``.  With ``none`` there are no directories of backups at all, neither "
        "here nor for snapshots: ``bin/backup`` backs up to each ``repository`` alone.",
        unset="``backups``; for a part called P: ``Ps``",
    )
    blobbackuplocation: Path | None = option(
        PATH,
        Group.PLACES,
        None,
        "Directory of the blob backups of ``bin/backup``.  A relative path starts at "
        "``locationprefix``.",
        unset="``blobstoragebackups``; for a part called P: ``P-blobstorages``",
    )
    snapshotlocation: Path | None = option(
        PATH,
        Group.PLACES,
        None,
        "Directory of the filestorage backups of ``bin/snapshotbackup``.  A relative path "
        "starts at ``locationprefix``.",
        unset="``snapshotbackups``; for a part called P: ``P-snapshots``",
    )
    blobsnapshotlocation: Path | None = option(
        PATH,
        Group.PLACES,
        None,
        "Directory of the blob backups of ``bin/snapshotbackup``.  A relative path starts at "
        "``locationprefix``.",
        unset="``blobstoragesnapshots``; for a part called P: ``P-blobstoragesnapshots``",
    )
    ziplocation: Path | None = option(
        PATH,
        Group.PLACES,
        None,
        "Directory of the filestorage backup of ``bin/zipbackup``.  A relative path starts at "
        "``locationprefix``.",
        unset="``zipbackups``; for a part called P: ``P-zips``",
    )
    blobziplocation: Path | None = option(
        PATH,
        Group.PLACES,
        None,
        "Directory of the blob archive of ``bin/zipbackup``.  A relative path starts at "
        "``locationprefix``.",
        unset="``blobstoragezips``; for a part called P: ``P-blobstoragezips``",
    )
    alternative_restore_source: tuple[str, ...] = option(
        LINES,
        Group.PLACES,
        (),
        "Where ``bin/altrestore`` restores from: ``Data FSDIR [BLOBDIR]``, the directories "
        "that ``bin/backup`` of another site fills.  BLOBDIR is needed exactly if there is a "
        "blobstorage.  With ``additional_filestorages`` there is one line for each storage, "
        "with its name in the place of ``Data``.  A path with white space is written in "
        "quotes; a relative one starts at the directory of the buildout.",
        aliases=(
            Alias(
                name="alternative_restore_sources",
                deprecated="write alternative_restore_source",
            ),
        ),
    )
