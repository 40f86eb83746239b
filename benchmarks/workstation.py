"""Two readers and an adjudicator at the workstation, in a headless Chromium, checked against its database.

python benchmarks/workstation.py SCAN... [--write docs/results.md]

reads the scans with `spinelab watch`, then has each case graded twice and settled by keyboard; prints times
and whether the export says what the database says. Then 20 readers grade the first case at once
(`readers_at_once`). Needs the extras ``archive``, ``server`` and ``dev``, the built page (make workstation)
and a Chromium.
"""

import argparse
import csv
import io
import json
import os
import platform
import shutil
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from held_out import replace_section
from readers_at_once import PASSWORD, READERS, AtOnce, save_at_once
from sqlalchemy import select

from spinelab.archive.store import Store, open_store
from spinelab.archive.tables import Scan, VertebraRow
from spinelab.server.accounts import add_account
from spinelab.server.app import build_app
from spinelab.server.options import ServeOptions
from spinelab.server.tables import Account, Mark, Reading

SECTION = "workstation"
PEOPLE = {"first": "reader", "second": "reader", "judge": "adjudicator"}
#: Software drawing, so that the linked views work where there is no graphics card.
FLAGS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_WAIT_S = 60.0


@dataclass(frozen=True)
class Times:
    """What was measured of one case; milliseconds.

    Attributes:
        case: Its pseudonym.
        vertebrae: How many were graded.
        first_picture_ms: From the click to the first vertebra's picture, drawn.
        views_ms: From the click to the linked views, drawn.
        move_ms: From each arrow key to the next vertebra's picture, drawn.
        matches: Whether the export says what the database says.
    """

    case: str
    vertebrae: int
    first_picture_ms: float
    views_ms: float | None
    move_ms: tuple[float, ...]
    matches: bool


def find_chromium() -> str | None:
    """Returns the path of an installed Chromium, or None."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


@contextmanager
def serving(store: Store, options: ServeOptions, *, prepare: bool = True) -> Iterator[str]:
    """Serves a database on a free port of this machine; gives the address."""
    import uvicorn

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = build_app(store, options, prepare=prepare)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=30)


@contextmanager
def browsing(chromium: str) -> Iterator[Any]:
    """Gives a headless browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


class Seat:
    """Somebody before the workstation: signs in and works by keyboard.

    Attributes:
        page: The browser's page, 1280 by 800.
        complaints: Errors the browser has reported.
        foreign: Addresses asked for that are not the workstation's.
    """

    def __init__(
        self, browser: Any, address: str, name: str, *, password: str = PASSWORD, views: bool = True
    ) -> None:
        self.address = address
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self.page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        if not views:
            self.page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", self._hear)
        self.page.on("request", self._look)
        self.page.goto(f"{address}/signin")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url(f"{address}/")

    def open_next(self) -> None:
        """Takes the next case from the work list."""
        self.page.goto(f"{self.address}/")
        self.page.keyboard.press("n")
        self.page.wait_for_url("**/cases/*")
        self.await_picture()

    def reload(self) -> None:
        """Loads the case anew."""
        self.page.reload()
        self.await_picture()

    def await_picture(self) -> None:
        """Waits until the first picture is drawn."""
        self.until("performance.getEntriesByName('first-picture').length > 0")

    def await_views(self) -> bool:
        """Waits for the linked views with their outlines; tells whether this browser draws them."""
        shown = "performance.getEntriesByName('outlines-ready').length > 0"
        self.until(f"{shown} || /WebGL/.test(document.getElementById('views-note').textContent)")
        return bool(self.page.evaluate(shown))

    def press(self, keys: str) -> None:
        """Presses keys one after another and waits until all is saved."""
        for key in keys:
            self.page.keyboard.press(key)
        self.until("['', 'Saved'].includes(document.getElementById('saved').textContent)")

    def chips(self) -> list[str]:
        """Returns what the strip says of each vertebra, "T12, moderate wedge"."""
        labels: list[str] = self.page.eval_on_selector_all(
            "#strip button", "buttons => buttons.map(b => b.getAttribute('aria-label'))"
        )
        return labels

    def finish(self) -> str:
        """Finishes the case; returns what the page says."""
        self.page.keyboard.press("f")
        self.until("document.getElementById('done-box').open")
        return str(self.page.inner_text("#done-text"))

    def leave(self) -> None:
        """Closes the page."""
        self.page.context.close()

    def until(self, condition: str) -> None:
        """Waits for a condition; the page's own policy forbids Playwright's way, which evaluates strings."""
        end = time.monotonic() + _WAIT_S
        while not self.page.evaluate(condition):
            if time.monotonic() > end:
                raise TimeoutError(f"waited {_WAIT_S:.0f} s for {condition}; {self.complaints}")
            time.sleep(0.02)

    def mark_ms(self, name: str) -> float:
        """Returns when the page reached a mark, counted from the start of loading it."""
        return float(self.page.evaluate(f"performance.getEntriesByName('{name}')[0].startTime"))

    def time_moves(self) -> tuple[float, ...]:
        """Walks down the column; returns for each step the time from the key to the new picture, drawn."""
        script = """async () => {
          const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
          const times = [];
          document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "Home", bubbles: true }));
          await frame();
          for (let n = 1; n < document.querySelectorAll("#strip button").length; n += 1) {
            await new Promise((done) => setTimeout(done, 400));
            const start = performance.now();
            document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true }));
            await document.getElementById("picture").decode();
            await frame();
            times.push(performance.now() - start);
          }
          return times;
        }"""
        return tuple(round(value, 1) for value in self.page.evaluate(script))

    def fetch(self, path: str) -> str:
        """Returns an export as text, asked for with this seat's cookies."""
        answer = self.page.request.get(self.address + path)
        assert answer.ok, answer.status
        return str(answer.text())

    def _hear(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def _look(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:", "blob:")):
            self.foreign.append(request.url)


def labels_in_database(store: Store) -> set[tuple[Any, ...]]:
    """Returns case, position, account, evaluable, grade, shape of every opinion, straight from the tables."""
    query = (
        select(Scan.case, VertebraRow.position, Account.name, Mark.evaluable, Mark.grade, Mark.shape)
        .join(Reading, Reading.id == Mark.reading_id)
        .join(Account, Account.id == Reading.account_id)
        .join(Scan, Scan.id == Reading.scan_id)
        .join(VertebraRow, VertebraRow.id == Mark.vertebra_id)
    )
    with store.reading() as session:
        return {tuple(row) for row in session.execute(query)}


def labels_in_export(text: str) -> set[tuple[Any, ...]]:
    """Returns the same of an exported labels.csv; final labels are left out."""
    return {
        (
            row["case"],
            int(row["position"]),
            row["reader"],
            {"true": True, "false": False}.get(row["evaluable"]),
            int(row["grade"]) if row["grade"] else None,
            row["shape"] or None,
        )
        for row in csv.DictReader(io.StringIO(text))
        if row["reader"] != "final"
    }


def read_case_together(browser: Any, address: str, store: Store) -> Times:
    """Has the next case read by both readers, who differ on its first vertebra, and settled; measures."""
    first = Seat(browser, address, "first")
    first.open_next()
    views = first.await_views()
    times = first.mark_ms("first-picture"), first.mark_ms("views-ready") if views else None
    moves = first.time_moves()
    case = str(first.page.inner_text("#case"))
    count = len([chip for chip in first.chips() if "no endplates" not in chip])
    first.page.keyboard.press("Home")
    _grade_column(first, count, "2w")
    second = Seat(browser, address, "second", views=False)
    second.page.goto(first.page.url)
    second.await_picture()
    _grade_column(second, count, "1w")
    judge = Seat(browser, address, "judge", views=False)
    judge.page.goto(first.page.url)
    judge.await_picture()
    judge.press("[")
    judge.finish()
    exported = labels_in_export(judge.fetch("/export/labels.csv"))
    kept = labels_in_database(store)
    complaints = [*first.complaints, *second.complaints, *judge.complaints]
    assert not complaints, complaints
    return Times(case, count, *times, moves, exported == kept)


def _grade_column(seat: Seat, count: int, first: str) -> None:
    seat.press(first + "0" * (count - 1))
    seat.finish()


def render(cases: Sequence[Times], crowd: AtOnce, load: float) -> str:
    """Returns the figures as a table."""
    moves = sorted(ms for case in cases for ms in case.move_ms)
    firsts, views = [c.first_picture_ms for c in cases], [c.views_ms for c in cases if c.views_ms is not None]
    rows = [
        ("from the click to the first picture", "2 s", f"{max(firsts) / 1000:.1f} s"),
        ("to the linked views", "", f"{max(views) / 1000:.1f} s" if views else "not drawn here"),
        (
            "from an arrow key to the next vertebra's picture, median (95 %, largest)",
            "100 ms",
            f"{statistics.median(moves):.0f} ms ({moves[int(0.95 * (len(moves) - 1))]:.0f}, {moves[-1]:.0f})",
        ),
        ("export and database agree", "yes", "yes" if all(c.matches for c in cases) else "no"),
        (
            f"{crowd.readers} readers saving at once: saves, lost, doubled",
            "none lost",
            f"{crowd.saved}, {crowd.lost}, {crowd.doubled}",
        ),
        ("one of these saves, median (largest)", "", f"{crowd.median_ms:.0f} ms ({crowd.slowest_ms:.0f} ms)"),
    ]
    told = (
        f"Scans with {' and '.join(str(c.vertebrae) for c in cases)} vertebrae to grade, each read twice and "
        f"settled; {len(moves)} moves. {platform.machine()}, {os.cpu_count()} cores wanted by {load:.0f} "
        "programs at the time, Chromium without a graphics card."
    )
    table = ["| measured | asked | found (the slowest) |", "| --- | --- | --- |"]
    return "\n".join([told, "", *table, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the scans, has them graded, prints one JSON line a case and the table; writes it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("scans", nargs="+", type=Path)
    parser.add_argument("--results", type=Path, help="database of an earlier run of `spinelab watch` instead")
    parser.add_argument("--write", type=Path, help="page with markers of the section")
    given = parser.parse_args(arguments)
    chromium = find_chromium()
    if chromium is None:
        sys.exit(f"no browser found; install one of {', '.join(_NAMES)}")
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(given.results or _watch(given.scans, Path(folder)))
        for name, role in PEOPLE.items():
            add_account(store, name, role, PASSWORD)
        options = ServeOptions(next_case="finding")
        with serving(store, options) as address, browsing(chromium) as browser:
            _await_prepared(store)
            load = os.getloadavg()[0]
            cases = [read_case_together(browser, address, store) for _ in given.scans]
        for case in cases:
            print(json.dumps(asdict(case)))
        with serving(store, ServeOptions(readers=READERS + len(PEOPLE)), prepare=False) as address:
            crowd = save_at_once(store, address, 1)
        text = render(cases, crowd, load)
        store.close()
    print(text)
    if given.write is not None:
        replace_section(given.write, SECTION, text)


def _await_prepared(store: Store) -> None:
    from spinelab.server.prepared import list_unprepared

    while list_unprepared(store):
        time.sleep(0.5)


def _watch(scans: Sequence[Path], folder: Path) -> Path:
    """Has `spinelab watch` read the scans; returns the database."""
    import subprocess

    incoming = folder / "incoming"
    incoming.mkdir()
    for scan in scans:
        shutil.copy(scan, incoming)
    results, spinelab = folder / "results.db", Path(sys.executable).with_name("spinelab")
    command = [spinelab, "watch", incoming, "-r", results, "--once", "--settle-s", "0"]
    subprocess.run(command, check=True)
    return results


if __name__ == "__main__":
    main()
