"""Read-only knowledge of ``Data.fs``: its transactions, where to cut it, its blobs, its index.

Nothing here imports ZODB, opens a FileStorage or changes a disk, but for ``fsindex``, which
writes a new ``Data.fs.index`` beside a restored filestorage.
"""
