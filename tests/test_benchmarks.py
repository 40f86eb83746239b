"""The parts of benchmarks/ that count and calculate, by examples counted by hand."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import analyze_speed  # noqa: E402
import lengthen  # noqa: E402
import long_scan  # noqa: E402
import measured  # noqa: E402
import patches  # noqa: E402
import runtimes  # noqa: E402

FOUND = analyze_speed.Comparison(
    scan="chest.nii.gz",
    shape=[512, 512, 133],
    machine="a machine",
    versions="some versions",
    vertebrae=12,
    stages_s={"read": 1.0, "locate": 2.0, "walk": 1.5, "outline": 1.5},
    network_s=5.0,
    total_s=10.0,
    cpu_s=15.0,
    peak_mb=1500.0,
    usual={"seconds_all": 200.0, "patches": 27, "timed": 3, "parameters": 31e6, "resampled": [240, 240, 222]},
    usual_peak_mb=2100.0,
)


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        ((128, 128, 128), 1),
        ((40, 128, 128), 1),
        ((129, 128, 128), 2),
        ((192, 128, 128), 2),
        ((193, 128, 128), 3),
        ((240, 240, 222), 27),
    ],
)
def test_patches_are_at_most_half_a_patch_apart(shape: tuple[int, ...], count: int) -> None:
    assert patches.count_patches(shape) == count


def test_patches_without_overlap() -> None:
    assert patches.count_patches((256, 257, 100), patch=128, step=1.0) == 2 * 3 * 1


def test_extent_is_kept_when_resampling() -> None:
    assert patches.resample_shape((512, 512, 133), (0.703125, 0.703125, 2.5), 1.5) == (240, 240, 222)


def test_extrapolation_is_mean_times_count() -> None:
    assert patches.extrapolate([2.0, 4.0], 10) == 30.0
    assert patches.extrapolate([1.0, 2.0, 6.0], 3) == 9.0


def test_crop_keeps_the_box_of_nonzero_voxels() -> None:
    array = np.zeros((6, 5, 4), dtype=np.int16)
    array[1, 2, 3] = -1000
    array[4, 2, 2] = 7
    assert patches.crop_to_nonzero(array) == (4, 1, 2)
    assert patches.crop_to_nonzero(np.zeros((6, 5, 4))) == (6, 5, 4)


@pytest.mark.train
def test_usual_network_has_the_parameters_counted_by_hand() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed (extra train)")
    import usual_network

    # Weights, biases and norms: 174 + 672 down, 66 up, 336 joined, 9 in the head.
    small = usual_network.UsualNetwork((2, 4), classes=3)
    assert usual_network.count_parameters(small) == 1257
    assert small(torch.zeros(1, 1, 4, 6, 8)).shape == (1, 3, 4, 6, 8)
    with torch.device("meta"):
        assert usual_network.count_parameters(usual_network.UsualNetwork()) == 31_194_875
    assert len(usual_network.time_passes(small, passes=2, patch=4)) == 2


def test_line_through_exact_points_and_through_scattered_ones() -> None:
    assert long_scan.fit_line([0, 1, 2], [1, 3, 5]) == (1.0, 2.0)
    assert long_scan.fit_line([0, 1, 2], [0, 3, 0]) == (1.0, 0.0)
    with pytest.raises(ValueError, match=r"two different lengths, found \[5, 5\]"):
        long_scan.fit_line([5, 5], [1, 2])


def test_long_scan_table_shows_a_cost_that_bends_upwards() -> None:
    rows = [long_scan.Length(n, 5, n**2, 900.0, {"locate": 0.5}) for n in (0, 1, 2)]
    table = long_scan.render(rows)
    assert "| 0 | 5 | 0.0 | +0.3 | 0.5 | - | - | 900 |" in table
    assert "| 1 | 5 | 1.0 | -0.7 | 0.5 | - | - | 900 |" in table
    assert "within the 4000 MB" in table
    assert "OVER the 4000 MB" in long_scan.render([*rows, replace(rows[0], slices=3, peak_mb=4001.0)])


def test_reflected_positions_run_there_and_back() -> None:
    assert lengthen.reflect_positions(7, 1.0, 3).tolist() == [0, 1, 2, 1, 0, 1, 2]
    assert lengthen.reflect_positions(4, 0.5, 3).tolist() == [0, 0.5, 1, 1.5]


def test_lengthened_scan_interpolates_and_keeps_the_frame(tmp_path: Path) -> None:
    source: Any = SimpleITK.GetImageFromArray(np.array([[[0, 5]], [[10, 5]], [[20, 5]]], dtype=np.int16))
    source.SetSpacing((0.7, 0.7, 2.0))
    source.SetOrigin((1.0, 2.0, 3.0))
    SimpleITK.WriteImage(source, str(tmp_path / "in.nii"))
    lengthen.lengthen(tmp_path / "in.nii", tmp_path / "out.nii", slices=7, slice_mm=1.0)
    long: Any = SimpleITK.ReadImage(str(tmp_path / "out.nii"))
    assert SimpleITK.GetArrayFromImage(long)[:, 0, 0].tolist() == [0, 5, 10, 15, 20, 15, 10]
    assert long.GetSpacing() == pytest.approx((0.7, 0.7, 1.0))
    assert long.GetOrigin() == pytest.approx((1.0, 2.0, 3.0))


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="the kernel does not tell a child's memory here")
def test_memory_is_the_childs_own_and_not_the_parents() -> None:
    ballast = b"\1" * 200_000_000
    idle = measured.run_measured([sys.executable, "-c", "print('done')"], threads=1)
    busy = measured.run_measured([sys.executable, "-c", "b'1' * 150_000_000; raise SystemExit(3)"], threads=1)
    assert len(ballast) == 200_000_000
    assert (idle.returncode, idle.stdout) == (0, "done\n")
    assert idle.peak_mb < 100
    assert busy.returncode == 3
    assert 150 < busy.peak_mb < 250


def test_failed_command_ends_the_benchmark_with_its_complaint() -> None:
    with pytest.raises(SystemExit, match=r"failed with exit code 1(?s:.*)no such luck"):
        measured.run_json([sys.executable, "-c", "import sys; sys.exit('no such luck')"], threads=1)


def test_ratios_and_table() -> None:
    assert FOUND.ratio_to_networks == 40.0
    assert FOUND.ratio_to_total == 20.0
    table = analyze_speed.render(FOUND)
    assert "| start-up, imports, anything untimed | 4.00 s |  |" in table
    assert "27 patches (extrapolated: mean of 3 timed, times the count) | 200.0 s" in table
    assert "| **peak memory** | **1500 MB** | at most 2000 MB |" in table
    whole = replace(FOUND, usual={**FOUND.usual, "timed": 27})
    assert "27 patches (all timed)" in analyze_speed.render(whole)


def test_network_stages_are_summed_and_an_absent_one_is_named() -> None:
    assert analyze_speed.sum_network_stages(FOUND.stages_s) == 5.0
    with pytest.raises(SystemExit, match="times no stage walk, outline; it has locate"):
        analyze_speed.sum_network_stages({"locate": 1.0})


def test_section_is_replaced_between_the_markers_alone() -> None:
    page = f"above\n{analyze_speed.BEGIN}\nold\n{analyze_speed.END}\nbelow\n"
    once = analyze_speed.replace_section(page, "new")
    assert once == f"above\n{analyze_speed.BEGIN}\n\nnew\n\n{analyze_speed.END}\nbelow\n"
    assert analyze_speed.replace_section(once, "new") == once
    with pytest.raises(ValueError, match="wanted one line '<!-- analyze_speed: begin"):
        analyze_speed.replace_section("no markers", "new")


def test_the_documentation_page_has_the_markers() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    assert "| measured | found | asked |" in analyze_speed.replace_section(page, analyze_speed.render(FOUND))


def test_open_sizes_of_a_network_are_filled() -> None:
    assert runtimes.fill_shape(["n", 1, "i", "j", 64], 96) == [1, 1, 96, 96, 64]
    assert runtimes.fill_shape([2, 1, None, 8, 8], 16) == [2, 1, 16, 8, 8]


def test_runtimes_agree_on_a_network_that_doubles(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra train)")
    kind = onnx.TensorProto.FLOAT
    x, y = (onnx.helper.make_tensor_value_info(name, kind, ["n", 1, "i", "j", "k"]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Add", ["x", "x"], ["y"])], "double", [x], [y])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "double.onnx")
    timings = runtimes.time_network(tmp_path / "double.onnx", side=4, passes=1, threads=[1])
    assert [row.inputs for row in timings] == [[[1, 1, 4, 4, 4]]] * len(runtimes.list_runtimes())
    assert all(row.largest_difference == 0 and row.pass_ms > 0 for row in timings)
    feed = runtimes.make_feed(tmp_path / "double.onnx", 4)
    (doubled,) = runtimes.open_onnxruntime(tmp_path / "double.onnx", 1)(feed)
    assert np.array_equal(doubled, 2 * feed["x"])
    assert runtimes.find_largest_difference([feed["x"]], [feed["x"] + 0.5]) == pytest.approx(0.5)


def test_the_faster_runtime_is_named() -> None:
    slow = runtimes.Timing("locate.onnx", [[1, 1, 8, 8, 8]], "Slow 1", 2, 30.0, 0.0, 1.0)
    fast = replace(slow, runtime="Fast 2", pass_ms=20.0)
    assert "locate.onnx on 2 thread(s): Fast 2 is 1.50 times faster." in runtimes.render([slow, fast])
