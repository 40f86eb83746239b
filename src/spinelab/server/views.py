"""What the reading page is told about a case; what an account may not see is not in it."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from spinelab.archive.findings import second_name
from spinelab.archive.store import Store
from spinelab.archive.tables import Scan, VertebraRow
from spinelab.server.accounts import Person
from spinelab.server.adjudication import disputed, finished_readings, opinions_by_vertebra, settle
from spinelab.server.columns import VARIANTS, is_graded
from spinelab.server.opinions import Opinion
from spinelab.server.options import ServeOptions
from spinelab.server.prepared import prepare_case
from spinelab.server.readings import find_vertebrae, guess_variant
from spinelab.server.refusals import NotAllowedError
from spinelab.server.tables import READER, Mark, Reading
from spinelab.spine import Spine


def describe_case(store: Store, person: Person, scan_id: int, options: ServeOptions) -> dict[str, Any]:
    """Returns everything the reading page shows of one case.

    Raises:
        NotThereError: No such case.
        NotAllowedError: A reader who has not opened it.
    """
    index = prepare_case(store, scan_id)["vertebrae"]
    with store.reading() as session:
        rows = find_vertebrae(session, scan_id)
        scan = session.get_one(Scan, scan_id)
        reading = _own_reading(session, person, scan_id)
        if reading is None and person.role == READER:
            raise NotAllowedError("open the case from the work list first")
        spine = scan.result.spine if scan.result is not None else {}
        marks = _marks(session, reading)
        vertebrae = [
            {**_vertebra(row, spine, index[row.position]), **describe_mark(row, reading, marks.get(row.id))}
            for row in rows
        ]
        data = {
            "id": scan_id,
            "case": scan.case,
            "vertebrae": vertebrae,
            "numbering": _numbering(spine),
            "variants": {name: list(levels) for name, levels in VARIANTS.items()},
            **describe_state(reading, rows),
        }
        if person.sees_all:
            data["adjudication"] = _adjudication(session, rows, scan_id, options)
        return data


def describe_state(reading: Reading | None, rows: list[VertebraRow]) -> dict[str, Any]:
    """Returns how far a reading is and what it calls the vertebrae."""
    names = (reading.names if reading is not None else None) or {}
    return {
        "open": reading is not None and reading.closed_at is None,
        "finished": reading is not None and reading.closed_at is not None,
        "adjudicates": reading is not None and reading.adjudicates,
        "protocol": "shown" if reading is None or reading.adjudicates else reading.suggestion,
        "renamed": reading is not None and reading.names is not None,
        "variant": "usual" if reading is None else guess_variant(reading, rows),
        "names": {str(row.id): names.get(str(row.id), row.level) for row in rows},
    }


def describe_mark(row: VertebraRow, reading: Reading | None, mark: Mark | None) -> dict[str, Any]:
    """Returns one vertebra's opinion and, where the protocol shows it now, the model's suggestion."""
    opinion = Opinion() if mark is None else mark.opinion
    shown = reading is None or reading.adjudicates or reading.suggestion == "shown"
    if reading is not None and reading.suggestion == "after":
        shown = shown or opinion.complete
    return {
        "id": row.id,
        "opinion": opinion.to_dict(),
        "heights_mm": None if opinion.heights_mm is None else asdict(opinion.heights_mm),
        "complete": opinion.complete,
        "seconds": 0.0 if mark is None else round(mark.seconds, 1),
        "suggestion": _suggestion(row) if shown else None,
    }


def _suggestion(row: VertebraRow) -> dict[str, Any]:
    fracture = _whole(row, row.result.spine).get("fracture") or {}
    return {
        "evaluable": row.evaluable,
        "probability": row.probability,
        "grade": row.grade,
        "shape": row.shape,
        "height_loss_percent": row.height_loss_percent,
        "interval_percent": fracture.get("interval_percent"),
        "reference": fracture.get("reference"),
        "reasons": fracture.get("reasons") or [],
    }


def _vertebra(row: VertebraRow, spine: dict[str, Any], prepared: dict[str, Any]) -> dict[str, Any]:
    points = prepared["points_mm"]
    return {
        "level": row.level,
        "level_probability": row.level_probability,
        "other_level": second_name(Spine.from_dict(spine), row.level) if spine else None,
        "graded": is_graded(row.level),
        "complete_in_view": row.complete,
        "flags": _whole(row, spine).get("flags", []),
        "window_mm": prepared["window_mm"],
        "outlines": prepared["outlines"],
        "center_mm": prepared["center_mm"],
        "axes": prepared["axes"],
        "model_points_mm": points,
        "picture": f"/api/cases/{row.scan_id}/vertebrae/{row.id}/picture.png",
    }


def _whole(row: VertebraRow, spine: dict[str, Any]) -> dict[str, Any]:
    """Everything the archive holds of a vertebra."""
    found: dict[str, Any] = next((v for v in spine.get("vertebrae", []) if v["level"] == row.level), {})
    return found


def _numbering(spine: dict[str, Any]) -> dict[str, Any]:
    numbering = spine.get("numbering") or {}
    return {key: numbering.get(key) for key in ("statement", "probability", "anchored", "anchors")}


def _adjudication(
    session: Session, rows: list[VertebraRow], scan_id: int, options: ServeOptions
) -> dict[str, Any]:
    """What finished readings say, readers called by number in the order they began."""
    closed = finished_readings(session, scan_id)
    opinions = opinions_by_vertebra(session, closed)
    return {
        "readers": [
            {
                "label": f"Reader {number}",
                "names": {str(row.id): (reading.names or {}).get(str(row.id), row.level) for row in rows},
                "opinions": {str(key): value.to_dict() for key, value in opinions[reading.id].items()},
            }
            for number, reading in enumerate(closed, start=1)
        ],
        "disputed": sorted(disputed(session, closed) & {row.id for row in rows if is_graded(row.level)}),
        "settled": {
            str(key): {"how": value.how, "opinion": value.opinion.to_dict() if value.opinion else None}
            for key, value in settle(session, rows, readers=options.readers).items()
        },
    }


def _own_reading(session: Session, person: Person, scan_id: int) -> Reading | None:
    return session.scalar(select(Reading).where(Reading.account_id == person.id, Reading.scan_id == scan_id))


def _marks(session: Session, reading: Reading | None) -> dict[int, Mark]:
    if reading is None:
        return {}
    found = session.scalars(select(Mark).where(Mark.reading_id == reading.id))
    return {mark.vertebra_id: mark for mark in found}
