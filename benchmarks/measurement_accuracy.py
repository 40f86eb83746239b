"""Hold measurements of perfect masks of phantoms against the formulas the phantoms are drawn from.

python benchmarks/measurement_accuracy.py [--write docs/measurement.md]
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT)]

from held_out import replace_section  # noqa: E402
from tests.phantom import Collapse, make_phantom  # noqa: E402

from spinelab.measurement import measure  # noqa: E402
from spinelab.spine import Curve, Spine  # noqa: E402

SPACINGS = ((1, 1, 1), (0.8, 0.8, 1.5), (1, 1, 3), (1, 1, 5))
CODES = ("LPS", "RAS", "PIR", "ASL", "SRA")
COLUMNS = (("T4", "T5", "T6", "T7", "T8", "T9"), ("T10", "T11", "T12", "L1", "L2", "L3", "L4"))
WHAT = ("heights", "coronal", "sagittal", "slip")


def draw_phantom(rng: np.random.Generator, spacing: tuple[float, ...], number: int, oblique: int) -> Any:
    """Draws a column with curves, a wedge, a biconcave body and a slip."""
    levels = COLUMNS[number % 2]
    lean = rng.uniform(-18, 18, 3)
    return make_phantom(
        levels=levels,
        spacing_mm=spacing,
        codes=CODES[number % len(CODES)],
        oblique_deg=tuple(rng.uniform(-12, 12, 3) * oblique),
        gantry_deg=float(rng.uniform(-12, 12) * oblique),
        coronal_deg={levels[0]: lean[0], levels[len(levels) // 2]: -0.8 * lean[0], levels[-1]: 0.6 * lean[0]},
        sagittal_deg={levels[0]: -abs(lean[1]), levels[-1]: abs(lean[2])},
        collapse={levels[2]: Collapse(0.65, 0.75, 1), levels[4]: Collapse(1, 0.7, 1)},
        slip_mm={levels[3]: (6, -2)},
        axial_deg={levels[0]: 0.5 * lean[2], levels[-1]: -0.4 * lean[2]},
        seed=number,
    )


def compare(phantom: Any, spine: Spine) -> dict[str, list[float]]:
    """Returns the errors of one column, in mm and degrees."""
    errors: dict[str, list[float]] = {what: [] for what in WHAT}
    for vertebra in spine.vertebrae:
        truth = phantom.truth[vertebra.level]
        planes = (
            (vertebra.heights_mm, truth.heights_mm),
            (vertebra.heights_left_mm, truth.heights_at(truth.width_mm / 4)),
            (vertebra.heights_right_mm, truth.heights_at(-truth.width_mm / 4)),
        )
        for found, known in planes:
            for part in ("anterior", "middle", "posterior"):
                height = None if found is None else getattr(found, part)
                if height is not None:
                    errors["heights"].append(height - getattr(known, part))
        if vertebra.slip is not None:
            anterior, left = phantom.slip_mm(vertebra.level)
            errors["slip"] += [vertebra.slip.anterior_mm - anterior, vertebra.slip.left_mm - left]
    assert spine.curvature is not None
    for curve in spine.curvature.coronal:
        known_deg = phantom.cobb_deg(curve.upper, curve.lower)
        errors["coronal"].append(_signed(curve, "left") - known_deg)
    for curve in (spine.curvature.kyphosis, spine.curvature.lordosis):
        if curve is not None:
            known_deg = phantom.cobb_deg(curve.upper, curve.lower, plane="sagittal")
            errors["sagittal"].append(_signed(curve, "posterior") - known_deg)
    return errors


def _signed(curve: Curve, positive: str) -> float:
    return curve.angle_deg if curve.convex == positive else -curve.angle_deg


def main() -> None:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, help="page whose section is replaced")
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    lines = [
        "| slices | heights, mean (largest) mm | coronal Cobb, mean (largest) degrees | kyphosis, lordosis "
        "| slip, mean (largest) mm |",
        "| --- | --- | --- | --- | --- |",
    ]
    for spacing in SPACINGS:
        errors: dict[str, list[float]] = {what: [] for what in WHAT}
        for oblique in (0, 1):
            for number in range(8):
                phantom = draw_phantom(rng, spacing, number, oblique)
                found = compare(phantom, measure(phantom.image, phantom.mask, phantom.spine))
                errors = {what: errors[what] + found[what] for what in WHAT}
        cells = [f"{np.mean(np.abs(errors[w])):.1f} ({np.max(np.abs(errors[w])):.1f})" for w in WHAT]
        lines.append(f"| {spacing[2]:g} mm | {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    if options.write:
        replace_section(options.write, "measurement_accuracy", "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
