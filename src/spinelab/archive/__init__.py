"""Whole archives in the background: which scans there are, which are read, what was found in them."""
