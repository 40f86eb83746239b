"""Checks the demo's answer: the column of the chest CT, whose levels C7 to L2 are known."""

import json
import sys
from pathlib import Path

import jsonschema

import spinelab

folder = Path(sys.argv[1])
spine = json.loads((folder / "lidc_chest_spine.json").read_text(encoding="utf-8"))
schema = json.loads((Path(spinelab.__file__).parent / "spine.schema.json").read_text(encoding="utf-8"))
jsonschema.Draft202012Validator(schema).validate(spine)
known = ["C7", *(f"T{n}" for n in range(1, 13)), "L1", "L2"]
levels = [vertebra["level"] for vertebra in spine["vertebrae"]]
right = [level for level in known if level in levels]
print(f"demo: {', '.join(levels)}; {len(right)} of {len(known)} known levels; {spine['manifest']['seconds']}")
mask = spinelab.read_mask(folder / "lidc_chest_vert.nii.gz")
scan = spinelab.read(folder / "lidc_chest.nii.gz")
assert mask.geometry.same_grid(scan.geometry), "the mask is not on the scan's grid"
assert len(right) >= 13, f"only {len(right)} of the {len(known)} known levels were named"
report = (folder / "lidc_chest_report.html").read_text(encoding="utf-8")
assert "http://" not in report.replace("http://www.w3.org", ""), "the report is not self-contained"
