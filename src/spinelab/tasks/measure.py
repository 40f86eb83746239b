"""Measuring vertebrae that somebody else outlined: a scan, a mask of VerSe numbers, no network."""

from dataclasses import replace
from pathlib import Path

from spinelab.errors import GeometryError
from spinelab.io import check_ct, read, read_mask, table, verse, write_spine
from spinelab.io.outputs import OutputFolder
from spinelab.measurement import measure
from spinelab.measurement.named_mask import spine_of_mask
from spinelab.spine import Spine
from spinelab.tasks.fracture import grade_fractures
from spinelab.tasks.fracture_network import digest_of_reader, read_network
from spinelab.tasks.manifest import Stopwatch, run_manifest, stem_of


def measure_files(
    scan: Path, mask: Path, out: Path, *, centroids: Path | None = None, series: str | None = None
) -> tuple[Spine, dict[str, Path]]:
    """Measures every vertebra of a mask on its scan; writes STEM_spine.json and STEM_measurements.csv.

    Args:
        scan: The CT, any format `spinelab.read` takes.
        mask: VerSe numbers on the scan's grid.
        out: Folder for both files; made if missing.
        centroids: VerSe centroid file with the body centres; without it they are found from the mask.
        series: Which series, if the DICOM folder holds several.

    Raises:
        InputError: Scan or mask cannot be read, or are not on one grid (GeometryError).
        LabelError: The mask holds other labels than vertebrae, sacrum and coccyx.
        OutputError: The folder cannot be written.
    """
    watch = Stopwatch()
    stem = stem_of(scan)
    with OutputFolder(out) as folder:
        with watch.stage("read"):
            checked = check_ct(read(scan, series=series))
            labels = read_mask(mask)
        if not labels.geometry.same_grid(checked.image.geometry, 0.1):
            raise GeometryError(
                f"the mask's grid {labels.geometry.shape} is not the scan's {checked.image.geometry.shape}; "
                "give a mask drawn on this scan, or resample it to the scan's grid"
            )
        centers = None if centroids is None else verse.read_centroids(centroids, labels.geometry)
        with watch.stage("measure"):
            spine = measure(checked.image, labels, spine_of_mask(labels, centers))
            spine = read_network(checked.image, labels, grade_fractures(spine))
        manifest = run_manifest(
            scan.resolve().name, {"mask": mask.name}, watch, weights=digest_of_reader(None)
        )
        spine = replace(spine.with_warnings(*checked.warnings), manifest=manifest)
        files = {"spine": f"{stem}_spine.json", "measurements": f"{stem}_measurements.csv"}
        write_spine(spine, folder.path(files["spine"]))
        table.write_measurements(spine, folder.path(files["measurements"]))
    return spine, {kind: out / name for kind, name in files.items()}
