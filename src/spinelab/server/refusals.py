"""What the workstation refuses, apart by the answer a browser gets."""

from spinelab.errors import InputError


class NotThereError(InputError):
    """No such case, vertebra or picture, or none this account may know of (404)."""


class NotAllowedError(InputError):
    """The account's role, or the state of the case, does not allow it (403)."""
