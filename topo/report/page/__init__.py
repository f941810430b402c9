"""The report: one page that stands alone."""

from topo.report.page.render import Page, render

__all__ = ["Page", "render"]
