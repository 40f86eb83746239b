"""Pictures and the page a reader sees."""

from spinelab.report.page import write_report
from spinelab.report.pictures import write_preview

__all__ = ["write_preview", "write_report"]
