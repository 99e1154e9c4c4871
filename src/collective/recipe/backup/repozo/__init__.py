"""The repozo directory: full backups, incremental ones, and the ledger that joins them.

The format is that of ZODB's ``repozo``, which can verify, recover and continue what is
written here.  A chain is one full backup and the incremental ones after it::

    STAMP.fs   STAMP.deltafs      bytes of the filestorage, as they were
    STAMP.fsz  STAMP.deltafsz     the same as gzip members
    STAMP.dat                     the ledger of the chain whose full backup has that stamp
    STAMP.index                   Data.fs.index as it was then; may be missing
    STAMP.blocks                  our digests of that file (see blocks); may be missing

*The ledger decides.*  A data file comes first, its ledger line last; so a data file that no
ledger names is debris of a run that died, and before the next backup it is adopted, if it
fits exactly, or set aside (see heal).  repozo trusts the directory listing instead, and so
can put overlapping files together.

The caller holds the lock of the directory for all that changes it; readers need none.
"""
