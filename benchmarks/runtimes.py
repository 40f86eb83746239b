"""Time the shipped networks through ONNX Runtime and OpenVINO on identical inputs, float32.

    python benchmarks/runtimes.py [FILE.onnx ...] [--threads 1 2] [--passes 5] [--side 96] [--json]

Without files it takes every network inside the installed spinelab package. OpenVINO is optional; without it
only ONNX Runtime is timed, and the output says so.
"""

import argparse
import json
import statistics
import sys
import time
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from measured import describe_machine
from numpy.typing import NDArray

Arrays = list[NDArray[np.float32]]
Feed = dict[str, NDArray[np.float32]]
Pass = Callable[[Feed], Arrays]


@dataclass(frozen=True)
class Timing:
    """One network through one runtime.

    Attributes:
        network: File name.
        inputs: Shape of each input.
        runtime: Name and version.
        threads: Threads it was given.
        pass_ms: Median milliseconds a pass.
        largest_difference: Largest absolute difference of any output number from ONNX Runtime's with the
            first number of threads.
        largest_output: Largest absolute output number, to judge the difference by.
    """

    network: str
    inputs: list[list[int]]
    runtime: str
    threads: int
    pass_ms: float
    largest_difference: float
    largest_output: float


def fill_shape(shape: Sequence[int | str | None], side: int) -> list[int]:
    """Returns a network's input shape with the open batch size 1 and every other open size `side`.

    Example:
        >>> fill_shape(["n", 1, "i", "j", 64], 96)
        [1, 1, 96, 96, 64]
    """
    fixed = [size if isinstance(size, int) and size > 0 else side for size in shape]
    return [1, *fixed[1:]] if shape and not isinstance(shape[0], int) else fixed


def find_largest_difference(first: Arrays, second: Arrays) -> float:
    """Returns the largest absolute difference between two lists of arrays of the same shapes."""
    return max(float(np.abs(a - b).max()) for a, b in zip(first, second, strict=True))


def open_onnxruntime(path: Path, threads: int) -> Pass:
    """Returns the network as a function from named inputs to outputs, run by ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda feed: [np.asarray(out) for out in session.run(None, feed)]


def open_openvino(path: Path, threads: int) -> Pass:
    """Returns the network as a function from named inputs to outputs, run by OpenVINO."""
    import openvino

    limits = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    network: Any = openvino.Core().compile_model(str(path), "CPU", limits)

    def run(feed: Feed) -> Arrays:
        found = network(feed)
        return [np.array(found[out]) for out in network.outputs]

    return run


def list_runtimes() -> dict[str, Callable[[Path, int], Pass]]:
    """Returns the runtimes that are installed, by name and version."""
    found: dict[str, Callable[[Path, int], Pass]] = {
        f"ONNX Runtime {onnxruntime.__version__}": open_onnxruntime
    }
    if find_spec("openvino") is not None:
        from importlib.metadata import version

        found[f"OpenVINO {version('openvino')}"] = open_openvino
    return found


def make_feed(path: Path, side: int) -> Feed:
    """Returns inputs of the network's shapes: normal noise of 300 HU, the same at every call."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    return {
        node.name: random.normal(0, 300, fill_shape(node.shape, side)).astype(np.float32)
        for node in session.get_inputs()
    }


def time_network(path: Path, *, side: int, passes: int, threads: Sequence[int]) -> list[Timing]:
    """Times one network through every installed runtime; the first pass of each does not count."""
    feed = make_feed(path, side)
    reference: Arrays = []
    timings = []
    for runtime, start in list_runtimes().items():
        for count in threads:
            run = start(path, count)
            outputs = run(feed)
            reference = reference or outputs
            seconds = []
            for _ in range(passes):
                begin = time.perf_counter()
                run(feed)
                seconds.append(time.perf_counter() - begin)
            timings.append(
                Timing(
                    network=path.name,
                    inputs=[list(array.shape) for array in feed.values()],
                    runtime=runtime,
                    threads=count,
                    pass_ms=1000 * statistics.median(seconds),
                    largest_difference=find_largest_difference(reference, outputs),
                    largest_output=max(float(np.abs(array).max()) for array in reference),
                )
            )
    return timings


def render(timings: Sequence[Timing]) -> str:
    """Returns the timings as a Markdown table and which runtime is faster for each network."""
    lines = [
        "| network | input | runtime | threads | ms a pass | largest difference |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    for row in timings:
        shapes = ", ".join("x".join(map(str, shape)) for shape in row.inputs)
        difference = f"{row.largest_difference:.1e} of {row.largest_output:.1f}"
        cells = (row.network, shapes, row.runtime, str(row.threads), f"{row.pass_ms:.1f}", difference)
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for name, count in sorted({(row.network, row.threads) for row in timings}):
        rivals = [row for row in timings if (row.network, row.threads) == (name, count)]
        rivals.sort(key=lambda row: row.pass_ms)
        if len(rivals) > 1:
            gain = rivals[1].pass_ms / rivals[0].pass_ms
            lines.append(f"{name} on {count} thread(s): {rivals[0].runtime} is {gain:.2f} times faster.")
    if find_spec("openvino") is None:
        lines.append("OpenVINO is not installed, so it was not timed: pip install openvino")
    return "\n".join(lines)


def find_networks() -> list[Path]:
    """Returns the ONNX files inside the installed spinelab package."""
    spec = find_spec("spinelab")
    folders = spec.submodule_search_locations if spec else None
    found = sorted(path for folder in folders or [] for path in Path(folder).rglob("*.onnx"))
    return found or sys.exit("no *.onnx inside the spinelab package: name the files to time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*", help="ONNX files")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--side", type=int, default=96, help="voxels for sizes the network leaves open")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    machine = describe_machine(max(options.threads))
    timings = []
    for path in options.files or find_networks():
        timings += time_network(path, side=options.side, passes=options.passes, threads=options.threads)
    if options.json:
        print(json.dumps({"machine": machine, "timings": [asdict(row) for row in timings]}, indent=1))
    else:
        print(f"{machine}.\n\n{render(timings)}")


if __name__ == "__main__":
    main()
