"""The tables of the results database: scans, what was found in them, one row a vertebra.

Times are seconds since 1970 (UTC). Other parts of spinelab add their own tables to `Base.metadata`.
Of a patient the database holds the path of the scan, which is needed to read it, and nothing else; cases
are called by a name that cannot be traced back without this database.
"""

from typing import Any

from spinelab.errors import DependencyError

try:
    import psutil  # noqa: F401 of the workers; missed here first, where the message is
    from sqlalchemy import JSON, ForeignKey, String, Text
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
except ModuleNotFoundError as error:
    raise DependencyError(
        f"the archive needs the package {error.name}, which is not installed; pip install spinelab[archive]"
    ) from error

#: What a scan can be.
QUEUED, READING, DONE, SKIPPED, FAILED = "queued", "reading", "done", "skipped", "failed"
STATUSES = (QUEUED, READING, DONE, SKIPPED, FAILED)


class Base(DeclarativeBase):
    """Base of every table in the database."""


class Setting(Base):
    """A fact about the database itself: its schema, the salt of its case names."""

    __tablename__ = "setting"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class Place(Base):
    """A file or a folder of DICOM files as it was when it was last taken in.

    Attributes:
        path: Absolute.
        fingerprint: Changes with names, sizes and times of the files.
        studies: Hashes of the StudyInstanceUIDs of the DICOM files in the folder.
    """

    __tablename__ = "place"

    id: Mapped[int] = mapped_column(primary_key=True)
    path: Mapped[str] = mapped_column(Text, unique=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    studies: Mapped[list[str]] = mapped_column(JSON, default=list)


class Scan(Base):
    """One scan to read: a volume file, a zip, or one series of a DICOM study.

    Attributes:
        key: Hash of its content: of the file, or of series and image UIDs. No two scans share one.
        case: What people call it; a hash with the database's salt.
        source: Absolute path of the file, or of the folder the series' files lie below.
        files: For DICOM, the files of the series, relative to `source`; empty for a single file.
        kind: "dicom", "volume" or "zip".
        study: Hash of the StudyInstanceUID, or None.
        choice: Why this series of the study, in words.
        status: One of `STATUSES`.
        reason: Why it was skipped or has failed; None otherwise.
        attempts: How often reading was begun.
        failures: How often reading crashed, ran out of time or memory (an interrupted worker does not count).
        worker: Who reads it; None when nobody does.
        leased_until: When the worker's claim runs out unless renewed.
        ready_at: Not to be read before.
        replaced_by: The scan that took its place when more or better images of the study arrived.
    """

    __tablename__ = "scan"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(64), unique=True)
    case: Mapped[str] = mapped_column(String(32), unique=True)
    source: Mapped[str] = mapped_column(Text)
    files: Mapped[list[str]] = mapped_column(JSON, default=list)
    kind: Mapped[str] = mapped_column(String(16))
    study: Mapped[str | None] = mapped_column(String(64), index=True)
    choice: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16), default=QUEUED, index=True)
    reason: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(default=0)
    failures: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None] = mapped_column(String(128))
    leased_until: Mapped[float | None]
    ready_at: Mapped[float] = mapped_column(default=0.0)
    found_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    replaced_by: Mapped[int | None] = mapped_column(ForeignKey("scan.id"))

    result: Mapped["Result | None"] = relationship(back_populates="scan")


class Result(Base):
    """What was found in a scan; there is one exactly when the scan is done.

    Attributes:
        spine: `Spine.to_dict` data.
        folder: Where the outputs lie, relative to the files folder of the store.
        files: Kind of output (a key of `spinelab.tasks.analyze.OUTPUTS`) -> file name in `folder`.
        rank: The larger, the higher on the work list (see `spinelab.archive.findings`).
        finding: The worst finding in words.
        worst_level: Where it is; None where there is none.
        worst_probability: Probability of fracture there; None where not graded.
        worst_grade: Genant grade there, 0 to 3; None where not graded.
        worst_loss_percent: Loss of height there.
        seconds: Spent on reading it.
        peak_memory_mb: Largest resident memory of the reader so far.
        software: spinelab's version.
        weights_sha256: Name of each network -> its hash.
    """

    __tablename__ = "result"

    scan_id: Mapped[int] = mapped_column(ForeignKey("scan.id"), primary_key=True)
    spine: Mapped[dict[str, Any]] = mapped_column(JSON)
    folder: Mapped[str] = mapped_column(Text)
    files: Mapped[dict[str, str]] = mapped_column(JSON)
    rank: Mapped[float] = mapped_column(index=True)
    finding: Mapped[str] = mapped_column(Text)
    worst_level: Mapped[str | None] = mapped_column(String(4))
    worst_probability: Mapped[float | None]
    worst_grade: Mapped[int | None]
    worst_loss_percent: Mapped[float | None]
    seconds: Mapped[float]
    peak_memory_mb: Mapped[float | None]
    software: Mapped[str] = mapped_column(String(32))
    weights_sha256: Mapped[dict[str, str]] = mapped_column(JSON)

    scan: Mapped[Scan] = relationship(back_populates="result")
    vertebrae: Mapped[list["VertebraRow"]] = relationship(
        back_populates="result", order_by="VertebraRow.position", cascade="all, delete-orphan"
    )


class VertebraRow(Base):
    """One vertebra of a result, to search and sort by; the whole of it is in `Result.spine`.

    Attributes:
        position: 0 for the topmost vertebra of the scan, counting down.
        level: "C1" ... "L6", "T13".
        level_probability: Probability that it bears this name.
        complete: False when the field of view cuts it.
        evaluable: Whether a fracture could be graded; None where nothing has graded it.
        probability: Probability of fracture, 0 to 1.
        grade: Genant grade, 0 to 3.
        shape: "wedge", "biconcave" or "crush".
        height_loss_percent: The fracture reading's loss, or else the largest measured one.
        density_hu: Mean trabecular density.
    """

    __tablename__ = "vertebra"

    id: Mapped[int] = mapped_column(primary_key=True)
    scan_id: Mapped[int] = mapped_column(ForeignKey("result.scan_id"), index=True)
    position: Mapped[int]
    level: Mapped[str] = mapped_column(String(4), index=True)
    level_probability: Mapped[float]
    complete: Mapped[bool]
    evaluable: Mapped[bool | None]
    probability: Mapped[float | None] = mapped_column(index=True)
    grade: Mapped[int | None] = mapped_column(index=True)
    shape: Mapped[str | None] = mapped_column(String(16))
    height_loss_percent: Mapped[float | None]
    density_hu: Mapped[float | None]

    result: Mapped[Result] = relationship(back_populates="vertebrae")
