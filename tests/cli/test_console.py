"""The bar is there only while somebody watches."""

import io
import sys

from spinelab.cli.console import progress_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_nobody_watches():
    with progress_bar("case", quiet=False) as tell:
        assert tell is None


def test_quiet_wins_over_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar("case", quiet=True) as tell:
        assert tell is None


def test_a_terminal_sees_the_stage(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with progress_bar("case", quiet=False) as tell:
        tell("outline", 0.5)
    assert "case: outline" in terminal.getvalue()
