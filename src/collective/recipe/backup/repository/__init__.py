"""A repository: one store that restore points of any number of sites share, sealed.

It takes chunks of bytes, stores each of them once, and describes a restore point by their names; it
knows nothing of ZODB. Everything in the store is made once, under a name that is made of its bytes,
and never changed, so runs of several hosts need no lock::

    making, keys, slots, unlocking, keyring, sheets    the repository and what opens it
    sealing, compressing, padding, boxes, bundles      the bytes of objects
    writing, pipeline, tickets, puts                   a run that makes a restore point
    index, places, catalogs, orphans, cache            where chunks are
    libraries                                          what must be installed
    reading, reaching, points, standing, controls      what there is, and reading it
    pruning, collecting, plans, needs, moving          what goes, and when
    healing, twins, scrubbing, pointcopying            care
    rollback, totals                                   a store that went back; figures

docs/design/repository.rst has each structure byte for byte, and what is promised to whom.
"""
