"""Rendering the report: records and words in, HTML out."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from topo.credit import Credit
from topo.errors import ReportError
from topo.report.chart import Chart
from topo.report.page.columns import filters, foremost, packed, script_safe

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Page:
    """Everything that a report says.

    Parameters
    ----------
    title, question : str
    records : sequence of mapping
    columns : sequence of str
        Of the records, in order.
    charts : sequence of Chart
    findings : sequence of str
        Paragraphs.
    evidence : sequence of str
        Points whose records the findings rest on.
    pictures : sequence of (str, str)
        Fabrics: name and SVG.
    made : sequence of (str, str)
        How the report was made: labels and what they say.
    credit : Credit
        Errors of the systems against measurements.
    """

    title: str
    records: Sequence[Mapping[str, Any]]
    columns: Sequence[str]
    charts: Sequence[Chart]
    question: str = ""
    findings: Sequence[str] = ()
    evidence: Sequence[str] = ()
    pictures: Sequence[tuple[str, str]] = ()
    made: Sequence[tuple[str, str]] = ()
    credit: Credit = field(default_factory=Credit)


def render(page: Page) -> str:
    """The report as one HTML document that asks no network for anything.

    Raises
    ------
    ReportError
        plotly or Jinja is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup
        from plotly.offline import get_plotlyjs
    except ImportError as missing:
        raise ReportError(
            f"a report needs the package {missing.name}", "pip install 'topo-fabric-sim[report]'"
        ) from None
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    data = packed(page.records, page.columns)
    charts = [chart.to_data() for chart in page.charts]
    content = data | {"charts": charts, "filters": filters(data), "foremost": foremost(data)}
    return environment.get_template("report.html.j2").render(
        page=page,
        same=data["same"],
        pictures=[(name, base64.b64encode(svg.encode()).decode()) for name, svg in page.pictures],
        data=Markup(script_safe(content)),
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        scripts=[
            Markup(get_plotlyjs().replace("</script", "<\\/script")),
            *(Markup((HERE / name).read_text(encoding="utf-8")) for name in ("charts.js", "page.js")),
        ],
    )
