"""What may change one vertebra or disc, in that vertebra's own frame.

A finding (`spinelab.simulate.collapse.Collapse`, those of `spinelab.simulate.degeneration`) says what is
wanted. Fitted to the place where it is wanted, a `Site`, it becomes a `Change`: a local deformation with its
inverse, the rigid motions the column must make, and what becomes of the intensities.

Local coordinates are millimetres in the body's frame: x to the left, y to the back, z to the head, from the
body's centre.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from spinelab.errors import InputError
from spinelab.measurement import Column
from spinelab.measurement.bodies import Body
from spinelab.measurement.density import measure_density
from spinelab.measurement.sacrum import SacralEndplate
from spinelab.measurement.surfaces import Plane
from spinelab.simulate.rigid import Array, RigidMotion
from spinelab.volume import Image, Modality

#: Ends of a box along local x, y and z in mm.
Reach = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
#: (n,) intensities, their (n, 3) local source points in mm and the modality -> (n,) intensities.
Shade = Callable[[Array, Array, Modality], Array]


@dataclass(frozen=True, eq=False)
class Site:
    """Where a finding is wanted: a vertebra and what lies next to it.

    Attributes:
        level: Of the vertebra.
        body: Its body.
        above: The next body towards the head; None where not in view.
        below: The next body towards the feet, or the sacral endplate; None where not in view.
        cancellous_hu: Median density of its cancellous bone in HU; None where there is no CT to read it from.
        farther: The second body above and below, which loss of height is judged by where the next ones are
            not intact.
    """

    level: str
    body: Body
    above: Body | None = None
    below: Body | SacralEndplate | None = None
    cancellous_hu: float | None = None
    farther: tuple[Body | None, Body | None] = (None, None)

    @property
    def plane_below(self) -> Plane | None:
        """The superior endplate of what lies below."""
        if isinstance(self.below, SacralEndplate):
            return self.below.plane
        return None if self.below is None else self.below.superior

    def to_local(self, world_mm: Array) -> Array:
        """Maps LPS mm (..., 3) to local mm (..., 3)."""
        return np.asarray((world_mm - self.body.grid.origin_mm) @ self.body.grid.axes.T)


def find_site(column: Column, level: str, *, image: Image | None = None) -> Site:
    """Returns a vertebra of a column with what lies next to it.

    Args:
        column: From `find_column`.
        level: Of the vertebra.
        image: The CT, for the density of its bone; other modalities are not looked at.

    Raises:
        InputError: It is not in view, or shows no body.
    """
    names = [vertebra.level for vertebra in column.vertebrae]
    if level not in column.bodies:
        wanted = ", ".join(column.bodies) or "none"
        raise InputError(f"found no body of {level} in the mask; bodies found: {wanted}")
    place = names.index(level)
    above = column.bodies.get(names[place - 1]) if place > 0 else None
    below: Body | SacralEndplate | None = None
    if place + 1 < len(names):
        below = column.sacrum if names[place + 1] == "S" else column.bodies.get(names[place + 1])
    elif level in ("L4", "L5", "L6"):
        below = column.sacrum
    body = column.bodies[level]
    farther = tuple(
        column.bodies.get(names[i]) if 0 <= i < len(names) else None for i in (place - 2, place + 2)
    )
    density = measure_density(image, body, 1.0) if image is not None and image.modality == "CT" else None
    median_hu = None if density is None else density.median_hu
    return Site(level, body, above, below, median_hu, (farther[0], farther[1]))


class LocalMap(Protocol):
    """A deformation of local space that is the identity outside a box; `undo` inverts `apply`."""

    @property
    def reach_mm(self) -> Reach:
        """The box outside which nothing moves."""

    def apply(self, source_mm: Array) -> Array:
        """Maps source points (n, 3) in local mm to where they come to lie."""

    def undo(self, changed_mm: Array) -> Array:
        """Maps changed points (n, 3) in local mm back to where they came from."""


class Finding(Protocol):
    """What is wanted of one vertebra or disc."""

    @property
    def level(self) -> str:
        """The vertebra it is wanted at."""

    def fit(self, site: Site) -> "Change":
        """Returns the change that brings it about at a place."""

    def to_dict(self) -> dict[str, Any]:
        """Returns its parameters as JSON values."""


@dataclass(frozen=True, eq=False)
class Change:
    """What becomes of one vertebra.

    Attributes:
        level: Of the vertebra.
        map: Deformation in its frame; None where nothing is deformed.
        follow: Motion of the vertebra above and all above it relative to this one (local frame).
        settle: Motion of this vertebra, and all above it, relative to what lies below (local frame).
        shades: What becomes of intensities, in this order.
        findings: Parameters of what was asked for, as JSON values.
    """

    level: str
    map: LocalMap | None = None
    follow: RigidMotion = field(default_factory=RigidMotion)
    settle: RigidMotion = field(default_factory=RigidMotion)
    shades: tuple[Shade, ...] = ()
    findings: tuple[dict[str, Any], ...] = ()

    @property
    def reach_mm(self) -> Reach | None:
        """The box outside which nothing is deformed; None where nothing is."""
        return None if self.map is None else self.map.reach_mm

    def apply(self, source_mm: Array) -> Array:
        """Maps source points (n, 3) in local mm to where they come to lie."""
        return source_mm if self.map is None else self.map.apply(source_mm)

    def undo(self, changed_mm: Array) -> Array:
        """Maps changed points (n, 3) in local mm back to where they came from."""
        return changed_mm if self.map is None else self.map.undo(changed_mm)

    def shade(self, intensity: Array, source_mm: Array, *, modality: Modality) -> Array:
        """Returns intensities (n,) as the change leaves them; `source_mm` (n, 3) is where they were read."""
        for shade in self.shades:
            intensity = shade(intensity, source_mm, modality)
        return intensity

    def to_dict(self) -> dict[str, Any]:
        """Returns what was asked for and the motions it entails, as JSON values."""
        motions = {
            name: {
                "rotation": motion.rotation.round(6).tolist(),
                "translation_mm": motion.translation_mm.round(4).tolist(),
            }
            for name, motion in (("follow", self.follow), ("settle", self.settle))
        }
        return {"level": self.level, "findings": list(self.findings), **motions}


@dataclass(frozen=True, eq=False)
class _Chain:
    """Several maps, one after the other."""

    maps: tuple[LocalMap, ...]

    @property
    def reach_mm(self) -> Reach:
        boxes = np.array([part.reach_mm for part in self.maps])
        low, high = boxes[..., 0].min(axis=0), boxes[..., 1].max(axis=0)
        x, y, z = ((float(a), float(b)) for a, b in zip(low, high, strict=True))
        return (x, y, z)

    def apply(self, source_mm: Array) -> Array:
        for part in self.maps:
            source_mm = part.apply(source_mm)
        return source_mm

    def undo(self, changed_mm: Array) -> Array:
        for part in reversed(self.maps):
            changed_mm = part.undo(changed_mm)
        return changed_mm


def combine(changes: Sequence[Change]) -> Change:
    """Returns several changes of one vertebra, made one after the other, as one.

    Each was fitted to the unchanged body; a collapse should therefore come last.

    Raises:
        InputError: There is none, or they are of different vertebrae.
    """
    levels = sorted({change.level for change in changes})
    if len(levels) != 1:
        raise InputError(
            f"found changes of {', '.join(levels) or 'no vertebra'}; combine those of one vertebra"
        )
    maps = tuple(change.map for change in changes if change.map is not None)
    follow, settle = RigidMotion(), RigidMotion()
    shades: list[Shade] = []
    before: list[LocalMap] = []
    for change in changes:
        follow, settle = change.follow.after(follow), change.settle.after(settle)
        shades += [_shade_after(tuple(before), shade) for shade in change.shades]
        before += [] if change.map is None else [change.map]
    merged = None if not maps else maps[0] if len(maps) == 1 else _Chain(maps)
    findings = tuple(finding for change in changes for finding in change.findings)
    return Change(levels[0], merged, follow, settle, tuple(shades), findings)


def _shade_after(before: tuple[LocalMap, ...], shade: Shade) -> Shade:
    """Returns a shade that is given points as they were before the maps made ahead of it."""
    if not before:
        return shade
    chain = _Chain(before)
    return lambda intensity, source_mm, modality: shade(intensity, chain.apply(source_mm), modality)
