"""The directory destination: a repozo directory, the blobs beside it, manifests.

    location/            2026-03-01-03-00-00.fsz  .dat  .index  .blocks     the full backup
                         2026-03-02-03-00-00.deltafsz  .blocks              an incremental one
                         2026-03-01-03-00-00.json, 2026-03-02-03-00-00.json the restore points
    blobbackuplocation/  blobstorage.2026-03-01-03-00-00/blobstorage/...    the chain's blobs
                         latest -> blobstorage.2026-03-01-03-00-00

The order of a backup: the filestorage is read first, then the blobs that its records name, and
the pair is checked.  Then the filestorage part gets its name, by which repozo knows it, and
last of all the manifest makes it a restore point.  So whatever a run that died left behind,
neither a restore point nor repozo names it, and the next run takes up what can be used.

Most runs have nothing to add, and are over in a moment.  So a room, and a function, imports what
only it needs.
"""
