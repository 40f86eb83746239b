"""Spines with values chosen for the report's tests."""

from spinelab.spine import (
    Curvature,
    Curve,
    Density,
    Frame,
    HeightLoss,
    Heights,
    Numbering,
    Slip,
    Spine,
    Vertebra,
)

UPRIGHT = Frame((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def measured_spine() -> Spine:
    """T12 cut, L1 collapsed, L2 slipped, L3 with nothing measured; LPS mm along z."""
    return Spine(
        vertebrae=(
            Vertebra("T12", (0.0, 0.0, 45.0), 0.97, complete=False, flags=("cut", "metal")),
            Vertebra(
                "L1",
                (0.0, 0.0, 15.0),
                0.72,
                frame=UPRIGHT,
                heights_mm=Heights(16.04, 17.25, None),
                height_loss=HeightLoss(33.6, 10.0, None, 31.0),
                density=Density(118.4, 110.0, 30.0, 9000.0),
            ),
            Vertebra(
                "L2",
                (0.0, 0.0, -15.0),
                0.999,
                heights_mm=Heights(25.0, 24.0, 26.0),
                height_loss=HeightLoss(3.8, -1.0, 0.2, None),
                density=Density(97.6, 90.0, 30.0, 9000.0),
                slip=Slip("L1", 4.13, -3.4),
            ),
            Vertebra("L3", (0.0, 0.0, -45.0), 1.0),
        ),
        numbering=Numbering(("first rib", "last rib", "sacrum"), 0.97, ("T11", "L2"), 0.02, True, ("T13",)),
        curvature=Curvature(
            (Curve("coronal", "T12", "L2", "L1", 12.4, "left"),),
            None,
            Curve("sagittal", "L1", "L3", "L2", 31.0, "anterior"),
        ),
        warnings=("contrast medium: density reads <too high>.",),
        manifest={
            "spinelab": "0.1.0",
            "seconds": {"locate": 3.14159},
            "input": "/data/SMITH_JOHN/scan.nii.gz",
        },
    )
