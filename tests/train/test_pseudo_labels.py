"""Landmarks drawn in unlabelled scans: what is accepted, and every reason for refusing."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from scipy import ndimage

from spinelab.train.mr_cases import PreparedMr
from spinelab.train.pseudo_labels import Verdict, judge, label_scans, write_verdicts

#: L1 to S1, mm apart as in people, and the value that tells each label to the network below.
LEVELS, GAPS = (20, 21, 22, 23, 24, 26), (34, 35, 36, 36, 33)


def make_case(levels=LEVELS, gaps=GAPS, name="a", value=0.1):
    array = np.zeros((12, 60, 130), np.float32)
    heights = 230 - np.concatenate([[0], np.cumsum(gaps)])
    for label, height in zip(levels, heights, strict=True):
        k = round(height / 2)
        array[4:8, 25:35, k - 5 : k + 6] = value * label
    return PreparedMr(name, array, np.ones_like(array), np.zeros(0, np.int64), np.zeros((0, 5, 3)))


def answer(scan, *, heat_at=0.9):
    """Sees a body at the middle of every block, and its label in the block's brightness."""
    image = scan[0, 0]
    shape = (image.shape[0], image.shape[1] // 2, image.shape[2] // 2)
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1) * (4.0, 4.0, 4.0) + (0, 1, 1)
    heat, offsets = np.zeros(shape, np.float32), np.zeros((5, 3, *shape), np.float32)
    levels = np.full((26, *shape), 1e-3, np.float32)
    parts, count = ndimage.label(image > 1)
    for number in range(1, count + 1):
        middle = np.array(ndimage.center_of_mass(parts == number)) * (4, 2, 2)
        label = round(float(np.median(image[parts == number])) * 10)
        square = ((grid - middle) ** 2).sum(-1)
        heat = np.maximum(heat, heat_at * np.exp(-square / 50)).astype(np.float32)
        near = square < 14**2
        offsets[:, :, near] = (middle - grid[near]).T
        offsets[1:, 2, near] += np.array([12, 12, -12, -12])[:, None]
        levels[:, near] = 1e-3
        levels[label - 1, near] = 1
    return [
        heat[None, None],
        offsets.reshape(1, 15, *shape),
        np.full((1, 5, *shape), 0.5, np.float32),
        levels[None],
    ]


def test_a_column_like_those_of_people_is_accepted_with_all_its_points():
    found = judge(make_case(), answer)
    assert found.labels.tolist() == list(LEVELS)
    assert found.named
    heights = 230 - np.concatenate([[0], np.cumsum(GAPS)])
    assert found.points_mm[:, 0, 2] == pytest.approx(heights, abs=2.5)
    assert found.points_mm[0, 1, 2] - found.points_mm[0, 0, 2] == pytest.approx(12, abs=2)
    assert np.isnan(found.points_mm[-1, 1:]).all()


def test_a_slice_gives_points_in_the_middle_of_its_slab():
    case = make_case()
    case = replace(case, array=np.repeat(case.array[5:6], 16, 0), seen=np.ones((16, 60, 130)), kind="slice")
    assert judge(case, answer).points_mm[:, 0, 0] == pytest.approx(15)


@pytest.mark.parametrize(
    ("case", "network", "reason"),
    [
        (make_case((23, 24, 26), (36, 33)), answer, "3 bodies in a row"),
        (make_case(gaps=(34, 35, 70, 36, 33)), answer, "a gap in the column"),
        (make_case(), lambda scan: answer(scan, heat_at=0.4), "faint, mean heat 0."),
        (make_case(gaps=(26, 44, 27, 44, 27)), answer, "distances of one column in"),
    ],
)
def test_what_cannot_be_believed_is_refused_with_its_reason(case, network, reason):
    assert judge(case, network).startswith(reason)


def test_where_no_sacrum_is_seen_the_places_are_accepted_and_the_names_are_not():
    found = judge(make_case((19, 20, 21, 22, 23, 24), GAPS), answer)
    assert not found.named
    assert len(found.labels) == 6


def smaller_changes(change):
    """A network that answers otherwise on the smaller scan."""

    def told(scan):
        parts = answer(scan)
        return change(parts) if scan.shape[4] < 144 else parts

    return told


def test_a_scan_that_is_read_otherwise_when_smaller_is_refused_or_loses_its_names():
    def lift(parts):
        parts[1][:, 2::3] += 9
        return parts

    def rename(parts):
        return [*parts[:3], np.roll(parts[3], -1, 1)]

    def forget(parts):
        return [parts[0] * 0, *parts[1:]]

    assert judge(make_case(), smaller_changes(lift)) == "made smaller, a centre lies 10 mm elsewhere"
    assert judge(make_case(), smaller_changes(forget)) == "made smaller: 0 bodies in a row"
    assert not judge(make_case(), smaller_changes(rename)).named


def test_every_scan_gets_a_verdict_that_is_written_down(tmp_path):
    poor = make_case((23, 24, 26), (36, 33), name="b")
    accepted, verdicts = label_scans([make_case(), poor], answer)
    assert [case.name for case in accepted] == ["a"]
    assert verdicts == [
        Verdict("a", True, "6 bodies, VerSe 20 to 26"),
        Verdict("b", False, "3 bodies in a row"),
    ]
    (unsure,), (verdict,) = label_scans([make_case((19, 20, 21, 22, 23, 24), GAPS)], answer)
    assert (unsure.named, verdict.reason) == (False, "6 bodies, names unsure")
    write_verdicts(verdicts, tmp_path / "v.csv")
    rows = (tmp_path / "v.csv").read_text().splitlines()
    assert rows == ["scan,accepted,reason", 'a,yes,"6 bodies, VerSe 20 to 26"', "b,no,3 bodies in a row"]
