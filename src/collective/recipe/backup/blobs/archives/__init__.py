"""Archives of blobs: tar files that any tar unpacks, and those that older releases left.

::

    blobstorage.2026-03-01-03-00-00.tar           full; .tar.gz if it is compressed
    blobstorage.2026-03-02-03-00-00.delta.tar     the new blobs since; .delta.tar.gz
    blobstorage.2026-03-01-03-00-00.snar          beside a full one that GNU tar has begun a
                                                  chain of incremental ones with
    blobstorage.0.tar                             a full one in a rotation, 0 is the newest

Our archives, as they are stored (or inflated)::

    global header      comment = collective.recipe.backup 1 full
                       or        collective.recipe.backup 1 after 2026-03-01-03-00-00
    members            ./, ./.layout, ./0x00/ ... each file with its time in nanoseconds
    two blocks of zeros, the end for every tar
    seal               BLAKE3 of all bytes of the file before it; after the end, so that tar
                       does not read it (compressed: in the comment of an empty gzip member)

The seal shows damage of any byte; the comment at the other end of the file says that there must be
a seal.  ``after`` names the archive that must be unpacked before.

Archives of GNU tar have no digests.  Only the checksums of headers, the CRCs of gzip, the end, and
the files that an incremental one takes for granted can be compared.
"""
