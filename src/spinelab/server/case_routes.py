"""What the reading page asks for: a case, its pictures, and every change to a reading."""

from typing import Annotated, Any

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt
from sqlalchemy import select

from spinelab.archive.store import Store
from spinelab.archive.tables import VertebraRow
from spinelab.server.accounts import Person
from spinelab.server.opinions import Opinion
from spinelab.server.prepared import case_folder, prepare_case
from spinelab.server.readings import (
    find_vertebrae,
    finish,
    open_reading,
    rename_column,
    reopen,
    save_opinion,
    undo,
)
from spinelab.server.refusals import NotAllowedError, NotThereError
from spinelab.server.security import LARGEST, Number, OptionsHere, Signed, StoreHere
from spinelab.server.tables import READER, Mark, Reading
from spinelab.server.views import describe_case, describe_mark, describe_state

router = APIRouter(prefix="/api/cases/{scan_id}")
Coordinate = Annotated[float, Field(allow_inf_nan=False)]


class OpinionBody(BaseModel):
    """An opinion as the page sends it."""

    model_config = ConfigDict(extra="forbid")

    evaluable: StrictBool | None = None
    grade: StrictInt | None = None
    shape: str | None = None
    points_mm: list[tuple[Coordinate, Coordinate]] | None = None
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0


class NamesBody(BaseModel):
    """The level of one vertebra, from which the column is named."""

    model_config = ConfigDict(extra="forbid")

    vertebra_id: Annotated[StrictInt, Field(ge=1, le=LARGEST)]
    name: str
    variant: str = "usual"


@router.get("")
def show_case(scan_id: Number, store: StoreHere, person: Signed, options: OptionsHere) -> dict[str, Any]:
    """Everything the page shows."""
    return describe_case(store, person, scan_id, options)


@router.post("/open")
def begin(scan_id: Number, store: StoreHere, person: Signed, options: OptionsHere) -> dict[str, Any]:
    """Begins, or goes on with, the account's own reading."""
    open_reading(store, person, scan_id, options)
    return describe_case(store, person, scan_id, options)


@router.put("/vertebrae/{vertebra_id}")
def save(
    scan_id: Number, vertebra_id: Number, body: OpinionBody, store: StoreHere, person: Signed
) -> dict[str, Any]:
    """Saves an opinion."""
    opinion = Opinion.from_dict(body.model_dump())
    save_opinion(store, person, (scan_id, vertebra_id), opinion, seconds=body.seconds)
    return _one(store, person, scan_id, vertebra_id)


@router.post("/undo")
def take_back(scan_id: Number, store: StoreHere, person: Signed) -> dict[str, Any]:
    """Takes back the last change."""
    undone, vertebra_id = undo(store, person, scan_id)
    vertebra = None if vertebra_id is None else _one(store, person, scan_id, vertebra_id)
    return {"undone": undone, "vertebra": vertebra, **_state(store, person, scan_id)}


@router.post("/names")
def name(scan_id: Number, body: NamesBody, store: StoreHere, person: Signed) -> dict[str, Any]:
    """Names the whole column."""
    rename_column(store, person, (scan_id, body.vertebra_id), body.name, variant=body.variant)
    return _state(store, person, scan_id)


@router.post("/finish")
def end(scan_id: Number, store: StoreHere, person: Signed) -> dict[str, Any]:
    """Finishes the reading."""
    finish(store, person, scan_id)
    return _state(store, person, scan_id)


@router.post("/reopen")
def again(scan_id: Number, store: StoreHere, person: Signed) -> dict[str, Any]:
    """Opens a finished reading again."""
    reopen(store, person, scan_id)
    return _state(store, person, scan_id)


@router.get("/vertebrae/{vertebra_id}/picture.png")
def send_picture(scan_id: Number, vertebra_id: Number, store: StoreHere, person: Signed) -> Response:
    """One vertebra's straightened picture."""
    _check_may_look(store, person, scan_id)
    prepare_case(store, scan_id)
    with store.reading() as session:
        row = session.get(VertebraRow, vertebra_id)
        if row is None or row.scan_id != scan_id:
            raise NotThereError(f"there is no vertebra {vertebra_id} in this case; open it again")
        position = row.position
    return FileResponse(case_folder(store, scan_id) / f"v{position}.png", media_type="image/png")


@router.get("/scan.nii")
def send_scan(scan_id: Number, store: StoreHere, person: Signed, coarse: bool = False) -> Response:
    """The part of the scan the linked views show; compressed on the way, which the browser undoes."""
    return _send_volume(store, person, scan_id, "coarse_scan.nii.gz" if coarse else "scan.nii.gz")


@router.get("/mask.nii")
def send_mask(scan_id: Number, store: StoreHere, person: Signed, coarse: bool = False) -> Response:
    """The labels on the same grid."""
    return _send_volume(store, person, scan_id, "coarse_mask.nii.gz" if coarse else "mask.nii.gz")


def _send_volume(store: Store, person: Person, scan_id: int, name: str) -> Response:
    _check_may_look(store, person, scan_id)
    prepare_case(store, scan_id)
    return FileResponse(
        case_folder(store, scan_id) / name,
        media_type="application/octet-stream",
        headers={"Content-Encoding": "gzip"},
    )


def _check_may_look(store: Store, person: Person, scan_id: int) -> None:
    """A reader sees the pictures of cases they have begun."""
    with store.reading() as session:
        find_vertebrae(session, scan_id)
        query = select(Reading.id).where(Reading.account_id == person.id, Reading.scan_id == scan_id)
        if person.role == READER and session.scalar(query) is None:
            raise NotAllowedError("open the case from the work list first")


def _one(store: Store, person: Person, scan_id: int, vertebra_id: int) -> dict[str, Any]:
    with store.reading() as session:
        query = select(Reading).where(Reading.account_id == person.id, Reading.scan_id == scan_id)
        reading = session.scalars(query).one()
        mark = session.scalar(
            select(Mark).where(Mark.reading_id == reading.id, Mark.vertebra_id == vertebra_id)
        )
        return describe_mark(session.get_one(VertebraRow, vertebra_id), reading, mark)


def _state(store: Store, person: Person, scan_id: int) -> dict[str, Any]:
    with store.reading() as session:
        query = select(Reading).where(Reading.account_id == person.id, Reading.scan_id == scan_id)
        return describe_state(session.scalar(query), find_vertebrae(session, scan_id))
