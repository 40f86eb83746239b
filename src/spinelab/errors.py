"""Every error spinelab raises on purpose.

::

    SpinelabError
    ├── InputError          what was given cannot be read or makes no sense
    │   ├── UnreadableError     file missing, truncated, empty or of no known format
    │   ├── GeometryError       spacing, orientation or grid missing, odd or mismatched
    │   └── ModalityError       the scan is not what the task needs (an MR given as CT, say)
    ├── LabelError          labels unknown, or a conversion that would lose some
    ├── OutputError         the result cannot be written
    ├── ModelError          weights missing, damaged or bound to other preprocessing
    └── DependencyError     an optional package is needed and absent

A message states what was found, what was wanted, and the next step; the command line prints it as
one line and exits with code 2.
"""


class SpinelabError(Exception):
    """Root of all errors a user of spinelab is meant to see."""


class InputError(SpinelabError):
    """The input makes no sense for what was asked."""


class UnreadableError(InputError):
    """A file is missing, truncated, empty or of no known format."""


class GeometryError(InputError):
    """Spacing, orientation or grid is missing, odd or does not match."""


class ModalityError(InputError):
    """The scan is not of the kind the task needs."""


class LabelError(SpinelabError):
    """Labels are unknown, or a conversion would lose some of them."""


class OutputError(SpinelabError):
    """A result cannot be written where it was asked for."""


class ModelError(SpinelabError):
    """Weights are missing, damaged or bound to other preprocessing."""


class DependencyError(SpinelabError):
    """An optional package is needed and not installed."""
