"""The tables that benchmarks/workstation.py and benchmarks/watch_many.py write, from figures given."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import watch_many
import workstation
from readers_at_once import AtOnce
from watch_kills import Verdict


def test_the_slowest_of_several_cases_is_told():
    cases = [
        workstation.Times("case-a", 12, 480.0, 1700.0, (10.0, 12.0, 90.0), True),
        workstation.Times("case-b", 9, 730.0, None, (11.0,), False),
    ]
    text = workstation.render(cases, AtOnce(20, 240, 0, 0, 9.5, 35, 210), 3.4)
    assert "Scans with 12 and 9 vertebrae to grade" in text
    assert "4 moves" in text
    assert "| from the click to the first picture | 2 s | 0.7 s |" in text
    assert "| to the linked views |  | 1.7 s |" in text
    assert "| 100 ms | 12 ms (12, 90) |" in text
    assert "| export and database agree | yes | no |" in text
    assert "| 20 readers saving at once: saves, lost, doubled | none lost | 240, 0, 0 |" in text


def test_a_long_run_tells_rate_and_memory():
    verdict = Verdict(80, 80, 0, 0, 0, 10, 10, 0, 80, 93)
    text = watch_many.render(watch_many.Run(100, 41, 60.0, 4800.0, 30.0, 220.0, 231.0, verdict))
    assert "| lost, doubled, damaged, left half written | 0, 0, 0, 0 |" in text
    assert "| time; rate | 60 s; 4800 an hour |" in text
    assert "| memory, second and last quarter of its run | 220 and 231 MB |" in text
