"""spinelab outlines, names and measures the vertebrae in a CT scan, offline, on a laptop.

Names are loaded on first use, so that importing spinelab costs next to nothing::

    image = spinelab.read("scan.nii.gz")
    found = spinelab.segment(image)
    spine = spinelab.measure(image, found.mask, found.spine, outlines=found.outlines)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from spinelab.errors import SpinelabError
    from spinelab.evaluation import evaluate
    from spinelab.io import read, read_mask
    from spinelab.labels import convert_mask
    from spinelab.measurement import measure
    from spinelab.spine import Spine, Vertebra
    from spinelab.tasks.analyze import analyze
    from spinelab.tasks.segment import segment
    from spinelab.volume import Geometry, Image, Mask

__all__ = [
    "Geometry",
    "Image",
    "Mask",
    "Spine",
    "SpinelabError",
    "Vertebra",
    "analyze",
    "convert_mask",
    "evaluate",
    "measure",
    "read",
    "read_mask",
    "segment",
]

_HOMES = {
    "Geometry": "volume",
    "Image": "volume",
    "Mask": "volume",
    "Spine": "spine",
    "SpinelabError": "errors",
    "Vertebra": "spine",
    "analyze": "tasks.analyze",
    "convert_mask": "labels",
    "evaluate": "evaluation",
    "measure": "measurement",
    "read": "io",
    "read_mask": "io",
    "segment": "tasks.segment",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"spinelab has no {name!r}; its public names are {', '.join(__all__)}")
    value = getattr(import_module(f"spinelab.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
