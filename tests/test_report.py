from __future__ import annotations

import errno
import html as entities
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from playwright.sync_api import Browser, Page, sync_playwright

from edgestyle.browser import chromium
from edgestyle.errors import EdgestyleError, UsageError
from edgestyle.images import Image, centre_crop, sample_photos
from edgestyle.report import html, junit, markdown, plots
from edgestyle.report.document import Case, Cell, Column, Document, Figure, Plot, Section, Strip, Table
from edgestyle.report.write import write

HOSTILE = """<script>alert("x")</script> "'&amp; $a_b$ {{ 7 }}"""


def photo(seed: int = 0, size: tuple[int, int] = (60, 80)) -> Image:
    noise = np.random.default_rng(seed).normal(0, 0.02, (1, 3, *size))
    return np.clip(centre_crop(sample_photos()["coffee"], size) + noise, 0, 1).astype(np.float32)


@cache
def example_plots() -> list[Plot]:
    milliseconds = np.random.default_rng(0).gamma(2, 1, 40).tolist()
    return [
        plots.distribution(
            [
                plots.Runs("great_wave-512.onnx · onnxruntime-cpu", [18 + ms for ms in milliseconds], 19.7, 21.9),
                plots.Runs("a $10 <b> & $20", [5 + ms for ms in milliseconds], 6.6, None),
            ]
        ),
        plots.against_baseline(
            [
                plots.Ratio("slow", 1.2, 1.15, 1.25, "slower"),
                plots.Ratio("same", 1.2, 0.9, 1.5, "no proven change"),
                plots.Ratio("fast", 0.5, 0.4, 0.6, "faster"),
            ],
            threshold=0.1,
        ),
        plots.scaling(
            {
                "a": [plots.Work(0.065, 4, 50), plots.Work(0.26, 16, 90), plots.Work(1.05, 64, 250)],
                "b": [plots.Work(0.065, 5), plots.Work(0.26, 19)],
            }
        ),
        plots.roofline([plots.Achieved("a", 22, 60), plots.Achieved("b", 2, 20)], peak_gflops=200, bandwidth=20),
    ]


@cache
def example() -> Document:
    """A report with every kind of block, and with what could break a page."""
    columns = [
        Column("artifact"),
        Column("check"),
        Column("PSNR (dB)", numeric=True, hint="Higher is better."),
        *(Column(f"measure {i}", numeric=True) for i in range(6)),
    ]
    wide = [Cell("0.001", 0.001)] * 6
    rows = [
        [Cell("net-10.onnx"), Cell("passed", status="passed"), Cell("121.3", 121.3), *wide],
        [Cell("net-9.tflite"), Cell("failed: below 36 dB", status="failed"), Cell("33.9", 33.9), *wide],
        [Cell("net-9.mlpackage"), Cell("needs macOS", status="could not run"), Cell("—"), *wide],
        [Cell(HOSTILE), Cell("—"), Cell("broken", float("nan")), *wide],
    ]
    figures = [Figure(photo(i), caption) for i, caption in enumerate(["photo", "float", "exported", HOSTILE])]
    return Document(
        f"great_wave {HOSTILE}",
        False,
        f"4 checks. {HOSTILE}",
        [
            Section(
                "Results", f"First.\n\n{HOSTILE}", [Table(columns, rows), Table(columns[:1], [[Cell("x")]], "Second")]
            ),
            Section(HOSTILE, blocks=[Strip(HOSTILE, figures), Strip("coffee", figures[:3])]),
            Section("Latency", blocks=example_plots()),
        ],
        facts=[("Processor", "x86-64, 2 cores"), (HOSTILE, HOSTILE)],
    )


# HTML ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium.find(), args=flags)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "page.html"
    path.write_text(html.render(example()), encoding="utf-8")
    return path


class Opened:
    """The example in a browser, with what it complained of and asked for."""

    def __init__(self, browser: Browser, file: Path, width: int) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page: Page = browser.new_page(viewport={"width": width, "height": 844})
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())


@pytest.fixture(params=[390, 1280], ids=["phone", "desk"])
def opened(browser: Browser, page_file: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    opened = Opened(browser, page_file, request.param)
    yield opened
    assert not opened.complaints
    assert {url for url in opened.requests if not url.startswith("data:")} == {page_file.as_uri()}
    opened.page.close()


def test_nothing_hangs_out_of_the_page(opened: Opened) -> None:
    assert opened.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert opened.page.evaluate("document.querySelectorAll('img').length") == 8
    assert opened.page.evaluate("[...document.images].every(image => image.naturalWidth > 0 || image.id)")


def column_after_clicks(page: Page, title: str, clicks: int) -> list[str]:
    head = page.locator("table").first.locator("thead th", has_text=title)
    for _ in range(clicks):
        head.get_by_role("button").click()
    index = head.evaluate("head => head.cellIndex")
    return page.locator("table").first.locator(f"tbody tr > :nth-child({index + 1})").all_inner_texts()


def test_numbers_sort_by_value_and_what_was_not_measured_stays_last(opened: Opened) -> None:
    assert column_after_clicks(opened.page, "PSNR", 1) == ["33.9", "121.3", "—", "broken"]
    assert column_after_clicks(opened.page, "PSNR", 1) == ["121.3", "33.9", "—", "broken"]


def test_names_sort_as_people_count(opened: Opened) -> None:
    names = column_after_clicks(opened.page, "artifact", 1)
    assert [name for name in names if name.startswith("net")] == ["net-9.mlpackage", "net-9.tflite", "net-10.onnx"]


def test_screen_readers_are_told_of_the_order(opened: Opened) -> None:
    column_after_clicks(opened.page, "artifact", 1)
    column_after_clicks(opened.page, "PSNR", 2)
    heads = opened.page.locator("table").first.locator("thead th")
    orders = [heads.nth(i).get_attribute("aria-sort") for i in range(3)]
    assert orders == [None, None, "descending"]
    assert opened.page.get_by_role("status").inner_text() == "Results: sorted by PSNR (dB), descending"


def test_status_is_said_and_not_only_coloured(opened: Opened) -> None:
    badges = [" ".join(text.split()) for text in opened.page.locator("tbody .badge").all_inner_texts()]
    assert badges == ["✓ passed", "✕ failed: below 36 dB", "– needs macOS (could not run)"]  # noqa: RUF001


def test_pictures_take_turns_in_the_viewer(opened: Opened) -> None:
    page = opened.page
    page.locator(".strip button").nth(1).click()
    shown = page.locator("#viewer-picture")
    assert shown.get_attribute("alt") == "float"
    page.locator("#viewer-stage").click()
    assert shown.get_attribute("alt") == "exported"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert shown.get_attribute("alt") == "photo"
    page.keyboard.press("ArrowLeft")
    assert page.locator("#viewer [aria-pressed=true]").inner_text() == HOSTILE
    assert shown.get_attribute("src") == page.locator(".strip img").nth(3).get_attribute("src")
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()


def test_text_is_shown_as_it_is(opened: Opened) -> None:
    assert opened.page.title() == f"great_wave {HOSTILE}"
    assert opened.page.locator("tbody th").nth(3).inner_text() == HOSTILE
    assert opened.page.locator("main h2").nth(1).inner_text() == HOSTILE
    assert "a $10 <b> & $20" in opened.page.locator(".plot svg text").all_text_contents()


def test_pictures_are_made_smaller_until_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    document = Document("t", None, "", [Section("s", blocks=[Strip("s", [Figure(photo(0, (600, 900)), "photo")] * 3)])])
    large = html.render(document)
    monkeypatch.setattr(html, "_PICTURE_BYTES", 60_000)
    small = html.render(document)
    assert len(small) < 0.5 * len(large)
    assert small.count("data:image/webp") == large.count("data:image/webp") == 3


def test_a_broken_networks_picture_is_no_reason_for_no_report() -> None:
    broken = np.full((1, 3, 8, 8), np.nan, np.float32)
    document = Document("t", None, "", [Section("s", blocks=[Strip("s", [Figure(broken, "all NaN")])])])
    assert "all NaN" in html.render(document)


def test_a_report_without_a_verdict_shows_none() -> None:
    page = html.render(replace(example(), passed=None))
    assert 'class="verdict"' not in page
    assert 'class="verdict"' in html.render(example())


# Markdown ------------------------------------------------------------------------------------------


def rendered(text: str) -> str:
    return str(MarkdownIt("commonmark").enable("table").render(text))


def text_of(tag: str, page: str) -> list[str]:
    """What stands in each element of a kind, as a reader sees it."""
    found = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", page, flags=re.DOTALL)
    return [entities.unescape(re.sub("<[^>]+>", "", text)).strip() for text in found]


def test_markdown_says_what_the_page_says() -> None:
    text = markdown.render(example())
    page = rendered(text)
    assert text_of("h2", page) == ["Results", HOSTILE, "Latency"]
    assert "❌ **Failed.** 4 checks." in text
    cells = text_of("td", page)
    assert cells[:3] == ["net-10.onnx", "✅ passed", "121.3"]
    assert "⚪ needs macOS" in cells
    assert cells[27] == HOSTILE
    assert "| artifact | check | PSNR (dB) |" in text
    assert "|---|---|---:|" in text
    assert "slow: 1.20 times the baseline's time (1.15 to 1.25), slower." in text_of("li", page)
    assert "photo, float, exported" in text
    assert "<script" not in text


def test_markdown_shows_pictures_that_have_an_address() -> None:
    text = markdown.render(example(), lambda figure: f"pictures/{figure.caption[:5]} 1.png")
    assert '<img src="pictures/photo%201.png" alt="photo"' in rendered(text)


def test_long_tables_are_folded() -> None:
    table = Table([Column("n", numeric=True)], [[Cell(str(i), i)] for i in range(21)], "Many")
    text = markdown.render(Document("t", True, "", [Section("s", blocks=[table])]))
    assert "<summary>Many (21 rows)</summary>\n\n| n |" in text
    assert len(text_of("td", rendered(text))) == 21


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.just(" "), min_size=1))
def test_any_text_survives_markdown(text: str) -> None:
    expected = " ".join(text.split())
    table = Table([Column("c")], [[Cell(f"x{text}x")]])
    page = rendered(markdown.render(Document("t", None, "", [Section("s", text, [table])])))
    assert text_of("td", page) == [" ".join(f"x{text}x".split())]
    assert text_of("p", page) == ([expected] if expected else [])


# JUnit ---------------------------------------------------------------------------------------------


def test_junit_counts_failures_and_skips_by_suite() -> None:
    cases = [
        Case("great_wave.onnx", "onnxruntime-cpu", "passed", seconds=1.25),
        Case("great_wave.tflite", "litert-cpu", "failed", "33.9 dB; 36 are needed\nPAD fell back\x00\x1b[0m", 0.5),
        Case("great_wave.onnx", "coreml", "could not run", "needs macOS"),
    ]
    root = ElementTree.fromstring(junit.render("edgestyle validate", cases))  # noqa: S314
    assert root.attrib == {"name": "edgestyle validate", "tests": "3", "failures": "1", "errors": "0", "time": "1.750"}
    onnx, tflite = root
    assert (onnx.get("name"), onnx.get("tests"), onnx.get("failures"), onnx.get("skipped")) == (
        *("great_wave.onnx", "2"),
        *("0", "1"),
    )
    passed, skipped = onnx
    assert list(passed) == []
    assert passed.attrib == {"classname": "great_wave.onnx", "name": "onnxruntime-cpu", "time": "1.250"}
    assert skipped[0].tag == "skipped"
    assert skipped[0].get("message") == "needs macOS"
    failure = tflite[0][0]
    assert failure.tag == "failure"
    assert failure.get("message") == "33.9 dB; 36 are needed"
    assert failure.text == "33.9 dB; 36 are needed\nPAD fell back[0m"


def test_junit_of_nothing_is_whole() -> None:
    assert ElementTree.fromstring(junit.render("x", [])).get("tests") == "0"  # noqa: S314


def test_a_failure_without_a_reason_still_says_something() -> None:
    root = ElementTree.fromstring(junit.render("x", [Case("a", "b", "failed")]))  # noqa: S314
    assert root[0][0][0].get("message") == "failed"


# Plots ---------------------------------------------------------------------------------------------


def test_the_same_numbers_give_the_same_drawing() -> None:
    assert example_plots() == example_plots.__wrapped__()


@pytest.mark.parametrize("plot", example_plots(), ids=lambda plot: plot.title)
def test_drawings_fit_the_page(plot: Plot) -> None:
    """Well-formed, in the page's colours alone, without style or ids that reach beyond the drawing."""
    root = ElementTree.fromstring(plot.svg)  # noqa: S314
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not re.search(r"#(?!0{6}\b)[0-9a-f]{6}\b(?!\))", re.sub(r"var\(--[\w-]+, #\w{6}\)", "", plot.svg))
    assert "var(--ink" in plot.svg or "var(--soft" in plot.svg
    assert "<style" not in plot.svg
    assert not re.search(r'id="(figure|axes|text|patch|line2d)_', plot.svg)


def test_plots_say_their_numbers() -> None:
    distribution, baseline, scaling, roofline = example_plots()
    assert "great_wave-512.onnx · onnxruntime-cpu: median 19.7 ms" in distribution.description
    assert [line.split(", ")[-1] for line in baseline.description.splitlines()] == [
        "slower.",
        "no proven change.",
        "faster.",
    ]
    assert scaling.description.splitlines()[1] == "b: 5.00 ms at 0.0650 MP, 19.0 ms at 0.260 MP."
    assert "b: 20.0 GFLOP/s at 2.00 FLOP by byte, 50 % of what this machine can do there." in roofline.description


def test_without_matplotlib_a_line_stands_in_the_plots_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    plot = plots.distribution([plots.Runs("a", [1.0, 2.0, 3.0], 2.0, None)])
    assert plot.svg == ""
    assert plot.description.startswith("a: median 2.00 ms")
    assert "pip install 'edgestyle[report]'" in plot.description
    page = html.render(Document("t", None, "", [Section("s", blocks=[plot])]))
    assert "edgestyle[report]" in page
    assert "<svg" not in page


# The folder ----------------------------------------------------------------------------------------

RESULT: dict[str, Any] = {"results": [], "passed": True}
NAMES = {"index.html", "report.md", "report.json", "junit.xml"}


def test_the_folder_holds_every_form(tmp_path: Path) -> None:
    folder = tmp_path / "build" / "report"
    write(folder, example(), RESULT, [Case("a", "b", "passed")], {"benchmark.json": "[]"})
    assert {path.name for path in folder.iterdir()} == NAMES | {"benchmark.json"}
    assert json.loads((folder / "report.json").read_text()) == RESULT


def test_a_new_report_takes_the_old_ones_place_and_leaves_the_rest(tmp_path: Path) -> None:
    write(tmp_path, example(), RESULT, [])
    (tmp_path / "notes.txt").write_text("mine")
    write(tmp_path, replace(example(), title="second"), RESULT, [])
    assert {path.name for path in tmp_path.iterdir()} == NAMES | {"notes.txt"}
    assert (tmp_path / "report.md").read_text().startswith("# second\n")


def test_a_full_disk_leaves_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, example(), RESULT, [])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    real = Path.write_text

    def full(path: Path, *args: Any, **options: Any) -> int:
        if path.name == "junit.xml":
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *args, **options)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(EdgestyleError, match="No space left on device"):
        write(tmp_path, replace(example(), title="second"), RESULT, [])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_in_a_files_place_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "report.json").mkdir()
    with pytest.raises(UsageError, match=r"report\.json is a folder"):
        write(tmp_path, example(), RESULT, [])
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        write(tmp_path / "report", example(), RESULT, [])
