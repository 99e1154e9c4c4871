"""The blobstorage part of a backup: sets of blobs, how they grow and how they come back.

A ZODB blob never changes and carries its transaction in its name, so a set is extended by
what the log of the filestorage names, and what two sets share they share as hard links.
Nothing here knows where the filestorage is kept.
"""
