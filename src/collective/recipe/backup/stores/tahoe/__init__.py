"""A store in a grid of Tahoe-LAFS, reached over the web API of a node."""
