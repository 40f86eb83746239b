"""Checks what is in the wheel: schema, data, weights, the built page, within 22 MB, no torch wanted."""

import sys
import zipfile
from pathlib import Path

wheel = Path(sys.argv[1])
with zipfile.ZipFile(wheel) as archive:
    names = archive.namelist()
    metadata = next(archive.read(name).decode() for name in names if name.endswith("METADATA"))
wanted = ["spinelab/spine.schema.json", "spinelab/py.typed", "spinelab/report/template.html"]
page = ["reading.js", "worklist.js", "style.css", "LICENSES.txt"]
wanted += [f"spinelab/server/built/{name}" for name in page] + ["spinelab/server/templates/case.html"]
missing = [name for name in wanted if name not in names]
weights = [name for name in names if name.endswith(".onnx")]
plain = [
    line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line
]
problems = [f"missing: {missing}"] if missing else []
problems += ["JavaScript packages inside"] if any("node_modules" in name for name in names) else []
problems += ["no weights (.onnx) inside"] if not weights else []
problems += ["torch is required without an extra"] if any("torch" in line for line in plain) else []
size_mb = wheel.stat().st_size / 1e6
problems += [f"{size_mb:.1f} MB, wanted at most 22"] if size_mb > 22 else []
print(f"{wheel.name}: {size_mb:.1f} MB, {len(names)} files, weights: {', '.join(weights) or 'none'}")
sys.exit("; ".join(problems) if problems else 0)
