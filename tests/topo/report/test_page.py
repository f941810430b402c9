"""The report: one page without a network, in a real browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from topo.errors import ReportError
from topo.report.chart import Chart, default_charts, frontier, gathered
from topo.report.chart_figure import write_chart_figures

pytest.importorskip("plotly", reason="the extra 'report' is not installed")
pytest.importorskip("jinja2", reason="the extra 'report' is not installed")

from topo.credit import credit_of
from topo.report.page import Page, render
from topo.report.page.columns import packed, script_safe
from topo.sweep.tables import columns

DOTS = ((1, 4), (2, 5), (3, 4), (3, 1), (2, 2))
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
NASTY = """</script><script>window.hit=1</script><img src=x onerror="window.hit=2">&'"\u2028ring"""


def records(
    number: int, systems: tuple[str, ...] = ("ring:8", "torus:4x4", "switch:8")
) -> list[dict[str, Any]]:
    """Records as a sweep of ``topo run`` keeps them."""
    found = []
    for place in range(number):
        system = systems[place % len(systems)]
        power = (place // len(systems)) % 21
        operation = ("all-reduce", "all-to-all")[(place // len(systems) // 21) % 2]
        found.append(
            {
                "point": f"{place:032x}",
                "command": "run",
                "outcome": "ok",
                "input_on": system,
                "input_size": f"{2**power}KiB",
                "input_operation": operation,
                "input_seed": place // (len(systems) * 42),
                "operation": operation,
                "system": system,
                "bytes": 1024 * 2**power,
                "algorithm": "ring",
                "time_s": 1e-6 * (1 + 2**power / 7) * (1 + place % 5 / 10),
                "busbw_Bps": 1e9 * (power + 1) + place,
                "bound_ratio": 1 + (place % 17) / 10,
                "bottleneck": f"link {place % 97} and {place % 11} like it, {place % 100}.3% busy",
                "detail": f"{place % 64} chunks",
                "bound_certificate": f"the {place % 500} accelerators together must send so many bytes",
                "error": "",
                "version": "0.1.0",
                "seed": 0,
                "wall_s": 0.01 + place / 1e6,
                "point_wall_s": 0.02 + place / 1e6,
            }
        )
    return found


def page_of(found: list[dict[str, Any]], **more: Any) -> Page:
    return Page(
        title=more.pop("title", "A test"),
        question="Which?",
        records=found,
        columns=columns(found),
        charts=more.pop("charts", default_charts(found)),
        findings=more.pop("findings", ["The ring won."]),
        evidence=[record["point"] for record in found[:3]],
        pictures=[("ring:8", '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"/>')],
        made=[("Method", "Simulated."), ("Spec", "run:\n  on: ring:8")],
        credit=credit_of(found),
    )


def test_what_a_page_says() -> None:
    found = records(12, ("ring:8", "mi300x"))
    medians = [f"{100 * row['median']:.1f} %" for row in credit_of(found).rows]
    assert medians, "mi300x was measured"
    text = render(page_of(found))
    for words in (
        "The ring won.",
        "Which?",
        *medians,
        "Nothing comparable was measured on: ring:8",
        "Simulated.",
    ):
        assert words in text
    outside = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', outside), "nothing is fetched"


def test_names_are_escaped() -> None:
    text = render(page_of(records(12, (NASTY, "b")), title=NASTY, findings=[NASTY]))
    body = text.replace(str(script_safe(NASTY)), "")
    assert "<script>window.hit" not in body
    assert "<img src=x" not in body


def test_columns_are_packed() -> None:
    data = packed(
        [{"a": 1, "b": "x", "c": True}, {"a": 2.123456789012, "b": "x", "c": None}], ["a", "b", "c"]
    )
    assert data == {
        "rows": 2,
        "columns": [
            {"name": "a", "values": [1, 2.12345679]},
            {"name": "c", "words": ["true", ""], "values": [0, 1]},
        ],
        "same": [["b", "x"]],
    }


def test_charts_gather_the_records_that_share_a_place() -> None:
    chart = Chart("t", "x", "y", ("s",), y_factor=2, where={"k": 1})
    found = gathered(
        chart,
        [
            {"x": 2, "y": 1, "s": "a", "k": 1},
            {"x": 1, "y": 5, "s": "a", "k": 1},
            {"x": 1, "y": 1, "s": "a", "k": 1},
            {"x": 1, "y": 9, "s": "a", "k": 2},
            {"x": 1, "y": None, "s": "a", "k": 1},
        ],
    )
    (spreads,) = found.values()
    assert [(s.x, s.low, s.middle, s.high) for s in spreads] == [(1, 2, 6, 10), (2, 2, 2, 2)]
    assert Chart.from_data(chart.to_data()) == chart
    stack = Chart("t", "x", "sum", kind="stack", parts=(("a", "work"), ("b", "waiting")))
    assert Chart.from_data(stack.to_data()) == stack
    parts = gathered(stack, [{"x": 1, "a": 2.0, "b": 3.0, "sum": 5.0}, {"x": 2, "a": 1.0, "b": None}])
    assert {label: [(s.x, s.middle) for s in spreads] for label, spreads in parts.items()} == {
        "work": [(1, 2.0), (2, 1.0)],
        "waiting": [(1, 3.0)],
    }
    limited = Chart("t", "x", "y", limit="*r", y_factor=10)
    assert gathered(limited, [{"x": 1, "y": 2, "r": 3}])[""][0].limit == 60
    points = gathered(Chart("t", "x", "y", ("x",), "pareto"), [{"x": x, "y": y} for x, y in DOTS])
    assert frontier(points) == [(2.0, 5.0), (3.0, 4.0)]
    with pytest.raises(ReportError, match="'line'"):
        Chart("t", "x", "y", kind="lin")


def test_default_charts() -> None:
    charts = default_charts(records(252))
    assert {(chart.y, chart.where["operation"]) for chart in charts} >= {
        ("busbw_Bps", "all-reduce"),
        ("time_s", "all-to-all"),
    }
    assert all(chart.x == "bytes" and chart.log_x for chart in charts)
    assert default_charts([]) == []
    other = default_charts([{"input_a": "x", "cost": 1.0}, {"input_a": "y", "cost": 2.0}])
    assert [(chart.x, chart.y, chart.kind) for chart in other] == [("input_a", "cost", "bar")]


@pytest.mark.parametrize("kind", ["line", "scatter", "pareto", "bar", "stack", "box", "heat"])
def test_figures_are_drawn_without_a_browser(tmp_path: Path, kind: str) -> None:
    found, parts = records(126), (("time_s", "simulated"), ("wall_s", "simulating"))
    charts = [
        Chart("Time, by <size>", "bytes", "time_s", ("system",), kind, log_x=True, log_y=True, parts=parts),
        Chart("None", "bytes", "nothing"),
    ]
    written = write_chart_figures(charts, found, tmp_path)
    assert [path.name for path in written] == ["1-time-by-size.svg", "1-time-by-size.png"]
    before = written[0].read_bytes()
    assert write_chart_figures(charts, found, tmp_path)[0].read_bytes() == before


# ---------------------------------------------------------------------------------------------------- a browser
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium is installed (Debian: apt install chromium)")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


class Opened:
    """A page in the browser, and everything it complained of or asked for."""

    def __init__(self, browser: Any, file: Path, width: int = 1200) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900})
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on(
            "console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None
        )
        self.page.on("pageerror", lambda e: self.complaints.append(str(e)))
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("body[data-ready]")

    def scroll(self) -> None:
        """Past all charts, so that they are drawn."""
        for figure in self.page.locator("figure.chart").all():
            figure.scroll_into_view_if_needed()
            figure.locator(".main-svg").first.wait_for()

    def column(self, number: int) -> list[str]:
        texts: list[str] = self.page.locator(f"#table tbody td:nth-child({number})").all_inner_texts()
        return texts


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Any]:
    pages = []

    def open_page(page: Page, width: int = 1200) -> Opened:
        file = tmp_path / "report.html"
        file.write_text(render(page), encoding="utf-8")
        pages.append(Opened(browser, file, width))
        return pages[-1]

    yield open_page
    for one in pages:
        one.page.close()


def test_in_a_browser_charts_draw_and_nothing_is_asked_for(opened: Any) -> None:
    report = opened(page_of(records(252)))
    report.scroll()
    assert report.page.locator("figure.chart .scatterlayer .trace").count() >= 6 * 3
    assert report.complaints == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in report.requests)


def test_in_a_browser_filters_work_by_keyboard(opened: Any) -> None:
    page = opened(page_of(records(252))).page
    assert page.locator("#count").inner_text() == "252 of 252 records are left."
    page.locator("[data-filter=input_on] summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert page.locator("#count").inner_text() == "168 of 252 records are left."
    assert page.locator("[data-filter=input_on] summary").inner_text() == "on: 2 of 3"
    page.locator("figure.chart .scatterlayer .trace").first.wait_for()
    first = page.locator("figure.chart").first
    assert first.locator(".legend .traces").count() == 2
    assert first.locator(".scatterlayer .trace").count() == 2 * 2, "each series with its limit beside it"
    assert "Thin lines: no algorithm can pass" in first.locator("figcaption").inner_text()
    page.locator("#search").fill("link 5 and")
    left = int(page.locator("#count").inner_text().split()[0])
    assert 0 < left < 168
    page.locator("#reset").click()
    assert page.locator("#count").inner_text() == "252 of 252 records are left."
    page.locator("#show-evidence").click()
    assert page.locator("#count").inner_text() == "3 of 252 records are left."


def test_in_a_browser_the_table_sorts_and_grows(opened: Any) -> None:
    report = opened(page_of(records(252)))
    names = report.page.locator("#table thead th").all_inner_texts()
    number = names.index("time_s") + 1
    report.page.locator("[data-sort=time_s]").click()
    rising = [float(text) for text in report.column(number)]
    assert rising == sorted(rising) and len(rising) == 25
    assert report.page.locator("th[aria-sort=ascending]").inner_text().startswith("time_s")
    report.page.keyboard.press("Enter")  # the button has kept the focus
    falling = [float(text) for text in report.column(number)]
    assert falling == sorted(falling, reverse=True) and falling[0] > rising[-1]
    report.page.locator("#more").click()
    assert len(report.column(number)) == 225
    report.page.locator("[data-sort=input_size]").click()
    sizes = [int(text.removesuffix("KiB")) for text in report.column(names.index("size") + 1)]
    assert sizes == sorted(sizes), "1KiB, 2KiB, 16KiB: as numbers"
    few = report.page.locator("#table thead th").count()
    report.page.locator("#all-columns").check()
    assert report.page.locator("#table thead th").count() > few


def test_in_a_browser_nasty_names_stay_text(opened: Any) -> None:
    report = opened(page_of(records(126, (NASTY, "<b>bold</b>")), title=NASTY, findings=[NASTY]))
    report.scroll()
    assert report.page.evaluate("window.hit") is None
    assert report.page.locator("b").count() == 0
    assert "<b>bold</b>" in report.page.locator(".legendtext").nth(1).text_content()
    assert report.complaints == []


def test_in_a_browser_a_phone_shows_it_without_scrolling_sideways(opened: Any) -> None:
    report = opened(page_of(records(126)), width=360)
    report.scroll()
    assert report.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_in_a_browser_print_leaves_out_what_cannot_be_pressed(opened: Any) -> None:
    page = opened(page_of(records(126))).page
    page.emulate_media(media="print")
    assert not page.locator("#filters").is_visible()
    assert page.locator("#table").is_visible()


def test_in_a_browser_everything_has_a_name(opened: Any) -> None:
    page = opened(page_of(records(126))).page
    for role in ("button", "checkbox", "searchbox", "link"):
        for found in page.get_by_role(role).all():
            name = found.evaluate(
                "e => e.innerText || e.getAttribute('aria-label') || e.closest('label')?.innerText"
            )
            assert name and name.strip()
    for image in page.locator("img").all():
        assert image.get_attribute("alt")
    for plot in page.locator(".plot").all():
        assert plot.get_attribute("role") == "img"
        for name in (plot.get_attribute("aria-labelledby") or "").split():
            assert page.locator(f"#{name}").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("h1").count() == 1


def test_ten_thousand_records_open_with_little_in_the_page(opened: Any, tmp_path: Path) -> None:
    """How long that takes is for the benchmarks; here, that the page holds what is seen and no more."""
    report = opened(page_of(records(10_000, tuple(f"torus:{n}x{n}" for n in range(2, 12)))))
    assert (tmp_path / "report.html").stat().st_size < 10e6
    assert report.page.locator("#count").inner_text() == "10000 of 10000 records are left."
    assert report.page.locator("#table tbody tr").count() == 25
    assert report.page.locator("figure.chart").count() > report.page.locator(".main-svg").count() / 3, (
        "charts far below are drawn when they are scrolled to"
    )
    assert report.page.locator("*").count() < 20_000
    report.scroll()
    assert report.complaints == []
    report.page.locator("[data-filter=input_on] summary").click()
    report.page.locator("[data-filter=input_on] input").first.click()
    assert report.page.locator("#count").inner_text() == "9000 of 10000 records are left."
