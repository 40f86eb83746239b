"""The workstation: a page on which readers grade vertebrae, over the results database of the archive."""
