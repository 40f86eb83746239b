"""Deformed spines with exact truth: curves, collapse, degeneration, for CT and MR."""
