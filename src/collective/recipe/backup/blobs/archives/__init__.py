"""Archives of blobs: tar files that any tar unpacks, and those that older releases left.

::

    blobstorage.2026-03-01-03-00-00.tar           full; .tar.gz if it is compressed
    blobstorage.2026-03-02-03-00-00.delta.tar     the new blobs since; .delta.tar.gz
    blobstorage.2026-03-01-03-00-00.snar          beside a full one that GNU tar has begun a
                                                  chain of incremental ones with
    blobstorage.0.tar                             a full one in a rotation, 0 is the newest

What we write, as it is stored (or inflated)::

    global header      comment = collective.recipe.backup 1 full
                       or        collective.recipe.backup 1 after 2026-03-01-03-00-00
    members            ./, ./.layout, ./0x00/ ... each file with its time in nanoseconds
    two blocks of zeros, the end for every tar
    seal               BLAKE3 of all bytes of the file before it; after the end, so that tar
                       does not read it (compressed: in the comment of an empty gzip member)

A damaged byte anywhere is found by the seal; that there must be one is what the comment at
the other end of the file says.  ``after`` names the archive that must be unpacked before.

What GNU tar wrote has no digests.  Checksums of headers, CRCs of gzip, the end that must
be there, and the files that an incremental one takes for granted are all that can be
compared.
"""
