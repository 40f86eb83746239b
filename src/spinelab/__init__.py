"""spinelab reads scans of the spine."""
