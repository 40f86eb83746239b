"""The whole way in a real headless Chromium: sign in, grade by keyboard, reload, undo, adjudicate, export."""

import os
import sys
from pathlib import Path

import pytest

from spinelab.server.app import page_is_built
from spinelab.server.options import ServeOptions
from tests.server.cases import PASSWORD

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import workstation
from workstation import Seat, browsing, labels_in_database, labels_in_export, serving

#: Set where the browser has to be there, as in CI.
WANTED = "SPINELAB_BROWSER_TESTS"
#: Controls that neither show text nor have a label.
NAMELESS = """() => [...document.querySelectorAll("button, a, input:not([type=hidden]), select")]
  .filter((e) => !e.getAttribute("aria-label") && !e.textContent.trim() && !e.labels?.length)
  .map((e) => e.outerHTML)"""


def skip(reason):
    if os.environ.get(WANTED):
        pytest.fail(f"{reason}, and {WANTED} is set")
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser():
    try:
        import playwright.sync_api  # noqa: F401
    except ModuleNotFoundError:
        skip("playwright is not installed")
    chromium = workstation.find_chromium()
    if chromium is None:
        skip("no Chromium on this machine")
    if not page_is_built():
        skip("the page is not built: make workstation")
    with browsing(chromium) as opened:
        yield opened


@pytest.fixture
def address(store, browser):
    with serving(store, ServeOptions(next_case="finding"), prepare=False) as where:
        yield where


def sit(browser, address, name, *, views=True):
    return Seat(browser, address, name, password=PASSWORD, views=views)


def test_two_readers_and_an_adjudicator(browser, address, store):
    ada = sit(browser, address, "ada", views=False)
    ada.open_next()
    ada.press("0" + "2w" + "n" + "1")
    assert ada.chips() == ["T11, normal", "T12, moderate wedge", "L1, not evaluable", "L2, mild (shape?)"]
    assert "Which shape?" in ada.page.inner_text("#hint")
    ada.reload()
    assert ada.chips()[:3] == ["T11, normal", "T12, moderate wedge", "L1, not evaluable"]
    ada.press("u")
    assert ada.chips()[3] == "L2, not graded yet"
    ada.press("u")
    assert ada.chips()[2] == "L1, not graded yet"
    assert ada.page.inner_text("#level") == "L1"
    ada.press("00")
    assert ada.page.inner_text("#progress") == "4 of 4 graded"
    assert "3 normal, 1 moderate" in ada.finish()

    ben = sit(browser, address, "ben", views=False)
    ben.page.goto(ada.page.url)
    ben.await_picture()
    assert all("not graded yet" in chip for chip in ben.chips())
    ben.press("03c00")
    assert "3 normal, 1 severe" in ben.finish()

    jo = sit(browser, address, "jo", views=False)
    jo.open_next()
    assert jo.page.inner_text("#level") == "T12"
    assert jo.page.inner_text("#progress") == "0 of 1 disagreements settled"
    assert "moderate wedge" in jo.page.inner_text("#others")
    jo.press("]")
    jo.finish()

    text = jo.fetch("/export/labels.csv")
    assert labels_in_export(text) == labels_in_database(store)
    assert ",T12,T12,final,adjudicated,true,3,crush," in text
    for seat in (ada, ben, jo):
        assert seat.foreign == []
        assert seat.complaints == []
        assert "need WebGL" in seat.page.inner_text("#views-note")
        seat.leave()


def test_the_views_the_points_and_the_names(browser, address):
    ada = sit(browser, address, "ada")
    ada.open_next()
    assert ada.await_views(), "this Chromium draws no WebGL"
    moves = ada.time_moves()
    assert len(moves) == 3
    ada.press("p")
    point = ada.page.locator('[data-point="1"]')
    box = point.bounding_box()
    ada.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    ada.page.mouse.down()
    ada.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30, steps=3)
    ada.page.mouse.up()
    ada.press("")
    before = ada.page.inner_text("#heights")
    assert "lost against posterior: anterior" in before
    ada.page.locator('[data-point="1"]').focus()
    ada.press(["ArrowUp"])
    after = ada.page.inner_text("#heights")
    assert after != before
    ada.reload()
    ada.press(["End", "p"])
    assert ada.page.inner_text("#heights") == after
    ada.press("l")
    ada.page.select_option("#names-variant", "L6")
    ada.page.click("#names-down")
    ada.page.click("#names-apply")
    ada.until("document.querySelector('#strip button').getAttribute('aria-label').startsWith('T12')")
    ada.press("")
    assert [chip.split(",")[0] for chip in ada.chips()] == ["T12", "L1", "L2", "L3"]
    ada.press("u")
    assert [chip.split(",")[0] for chip in ada.chips()] == ["T11", "T12", "L1", "L2"]
    assert ada.complaints == []


def test_every_control_has_a_name_and_focus_shows(browser, address):
    ada = sit(browser, address, "ada", views=False)
    for path in ("/", "/study", "/cases/1"):
        ada.page.goto(address + path)
        if path.startswith("/cases"):
            ada.await_picture()
        nameless = ada.page.evaluate(NAMELESS)
        assert nameless == []
        assert ada.page.evaluate("document.documentElement.scrollWidth <= 1280"), path
        ada.page.keyboard.press("Tab")
        shown = ada.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert shown == "solid", path
