import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from spinelab.errors import OutputError
from spinelab.report import write_report
from spinelab.report.page import render_report
from spinelab.spine import Spine
from tests.phantom import Phantom, make_phantom
from tests.report.spines import measured_spine


class Page(HTMLParser):
    """Tags with their attributes, and the text, of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(levels=("T12", "L1", "L2", "L3"), spacing_mm=(3.0, 3.0, 3.0))


@pytest.fixture(scope="module")
def html(phantom: Phantom) -> str:
    return render_report(phantom.image, phantom.mask, measured_spine(), title="chest_01")


def _page(phantom: Phantom, spine: Spine) -> Page:
    return Page(render_report(phantom.image, phantom.mask, spine, title="t"))


def test_the_file_is_written_and_titled_by_its_stem_alone(phantom: Phantom, tmp_path: Path) -> None:
    target = tmp_path / "case_7_report.html"
    write_report(phantom.image, phantom.mask, measured_spine(), target)
    text = target.read_text(encoding="utf-8")
    assert "<title>case_7 · spine report</title>" in text
    assert str(tmp_path) not in text


def test_a_title_given_is_used(phantom: Phantom, tmp_path: Path) -> None:
    write_report(phantom.image, phantom.mask, Spine(()), tmp_path / "x.html", title="A & B")
    assert "<title>A &amp; B · spine report</title>" in (tmp_path / "x.html").read_text(encoding="utf-8")


def test_nothing_is_loaded_from_elsewhere_and_no_script_runs(html: str) -> None:
    page = Page(html)
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "base"})
    assert not re.search(r"https?://|url\(|@import", html)
    assert [str(image["src"])[:22] for image in page.attributes("img")] == ["data:image/png;base64,"]
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_every_tag_is_closed(html: str) -> None:
    assert Page(html).open == []


def test_the_page_can_be_heard(html: str) -> None:
    page = Page(html)
    assert page.attributes("html") == [{"lang": "en"}]
    assert "T12, L1, L2, L3" in str(page.attributes("img")[0]["alt"])
    assert "Coronal curve 12°" in str(page.attributes("svg")[0]["aria-label"])
    assert all(cell.get("scope") for cell in page.attributes("th"))


def test_headline_warnings_and_disclaimer_are_there(html: str) -> None:
    text = Page(html).text
    assert "T12 to L3, 4 vertebrae" in text
    assert "Contrast medium: density reads <too high>." in text
    assert "Next likely numbering T11 to L2, 2 %" in text
    assert "Research software, not a medical device." in text
    assert "<too high>" not in html


def test_the_table_has_a_row_a_vertebra(html: str) -> None:
    rows = re.findall(r"<tr[^>]*><th scope=\"row\"><span.*?</tr>", html)
    cells = [[re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]
    assert cells == [
        ["T12", "97 %", "cut", "–", "–", "–", "–", "–", "–", "–", "metal"],
        ["L1", "72 %", "yes", "16.0", "17.2", "–", "34 anterior", "–", "118", "–", ""],
        [
            "L2",
            "> 99 %".replace(">", "&gt;"),
            "yes",
            "25.0",
            "24.0",
            "26.0",
            "4",
            "–",
            "98",
            "forward 4.1, right 3.4",
            "",
        ],
        ["L3", "100 %", "yes", "–", "–", "–", "–", "–", "–", "–", ""],
    ]


def test_the_manifest_is_folded_away_without_folders(html: str) -> None:
    details = html[html.index("<details>") :]
    for part in ("seconds: locate", "3.142", "scan.nii.gz", "3.00 × 3.00 × 3.00"):
        assert part in details
    assert "SMITH" not in html


def test_a_guessed_numbering_stands_out(phantom: Phantom, html: str) -> None:
    spine = measured_spine()
    assert spine.numbering is not None
    guessed = replace(spine, numbering=replace(spine.numbering, anchored=False, anchors=()))
    page = _page(phantom, guessed)
    assert {"class": "lead guess"} in page.attributes("p")
    assert "Nothing in view fixes the count" in page.text
    assert {"class": "lead guess"} not in Page(html).attributes("p")


def test_nothing_found_is_said_and_the_middle_shown(phantom: Phantom) -> None:
    page = _page(phantom, Spine((), warnings=("No vertebra is in view.",)))
    assert "No vertebra was found" in page.text
    assert "No vertebra is in view." in page.text
    assert len(page.attributes("img")) == 1
    assert page.attributes("svg") == []
    assert "Every vertebra" not in page.text


def test_one_vertebra_without_any_measure(phantom: Phantom) -> None:
    page = _page(phantom, Spine(phantom.spine.vertebrae[1:2]))
    assert "L1, one vertebra" in page.text
    assert page.attributes("svg") == []
    assert page.text.count("not measured") == 5  # four findings and the meaning of the dash


def test_a_report_that_cannot_be_written_says_why(phantom: Phantom, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="folder does not exist; create it first"):
        write_report(phantom.image, phantom.mask, Spine(()), tmp_path / "none" / "r.html")


def test_suspicious_bodies_are_pictured_with_one_sentence_of_caution(phantom: Phantom) -> None:
    from spinelab.measurement import measure
    from spinelab.spine import Fracture

    spine = measure(phantom.image, phantom.mask, phantom.spine)
    fracture = Fracture(True, 0.9, 2, "wedge", 30.0, (22.0, 38.0), "neighbours")
    chosen = spine.vertebrae[1]
    changed = tuple(replace(v, fracture=fracture) if v is chosen else v for v in spine.vertebrae)
    page = Page(render_report(phantom.image, phantom.mask, replace(spine, vertebrae=changed), title="case"))
    words = [image["alt"] for image in page.attributes("img") if image["alt"]]
    assert sum(f"picture of {chosen.level} in its own frame" in said for said in words if said) == 1
    assert "Bodies that may have lost height" in page.text
    assert page.text.count("it does not tell a fracture, old or new, from another cause of a low body") == 1


def test_without_suspicious_bodies_there_is_no_such_part(html: str) -> None:
    assert "Bodies that may have lost height" not in Page(html).text
