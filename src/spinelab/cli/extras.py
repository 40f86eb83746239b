"""Verbs that need packages the base install leaves out."""

from collections.abc import Iterator
from contextlib import contextmanager

from spinelab.errors import DependencyError


@contextmanager
def needing_the_extra(extra: str, what: str) -> Iterator[None]:
    """Tells which package of an extra is absent for what is imported inside; our own modules never are.

    Args:
        extra: As in ``pip install spinelab[EXTRA]``.
        what: What cannot be done without it; begins the message.

    Raises:
        DependencyError: A package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("spinelab"):
            raise
        raise DependencyError(
            f"{what} needs the package {error.name}, which is not installed; pip install spinelab[{extra}]"
        ) from error
