"""The objects in a log at one moment, read without any class of the site.

::

    inert              the state of an object, unpickled so that nothing of it can run
    quickreferences    the references of a record, read from its bytes where that is possible
    references         the references of a state, with the names of the attributes
    current            the place of the current record of each object, and its contents
    subtree            the objects below an object, without those that lie elsewhere in the site
    paths              from a path to an object
    graph              all references between objects at a moment, and the reachable objects
    graphpaths         the path of an object of a graph
    comparison         objects that were deleted or moved between two moments
    departure          the transaction that deleted an object
    folderchanges      number of changes, folder by folder; the changes of one object
    statetext          the state of an object as text
    zexp               an export as ZODB imports it

Nothing is written.  Strangers may have written the pickles: see ``inert``.
"""
