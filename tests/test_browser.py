"""Exported files in headless Chromium: each runtime and delegate, several devices at a time, and the page itself."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pair_files import both_files, run_as

from edgestyle import registry
from edgestyle.browser import Measurement, chromium, measure, tab
from edgestyle.checkpoint import Checkpoint
from edgestyle.cli import main
from edgestyle.drift import psnr
from edgestyle.errors import CheckError, UnavailableError, UsageError
from edgestyle.exporting import contract_for
from edgestyle.feedforward import FeedForward
from edgestyle.runner import Image, Placement, Runner
from edgestyle.runners import litert_web, onnxruntime_web

pytest.importorskip("onnxruntime")
pytest.importorskip("ai_edge_litert")
pytest.importorskip("litert_torch")

if (here := tab.probe("browser", "json")).status != "works":
    pytest.skip(f"{here.reason}; add it with: {here.install}", allow_module_level=True)

pytestmark = pytest.mark.flaky(reruns=1)  # a browser is a world of its own, and its GPU is emulated

HEIGHT, WIDTH = 64, 96
DELEGATES = [
    ("onnxruntime-web-wasm", "onnxruntime-cpu"),
    ("onnxruntime-web-webgpu", "onnxruntime-cpu"),
    ("litert-web-wasm", "litert-cpu"),
    ("litert-web-webgpu", "litert-cpu"),
]
"""Each browser runner, and who computes the same on the CPU."""
MIN_PSNR_DB = 90
"""Other kernels add up in another order; the runtimes here differ by 127 dB and more."""


@pytest.fixture(scope="module")
def files(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny network in each format that browsers run, by suffix."""
    folder = tmp_path_factory.mktemp("browser")
    written = {}
    for name in ("onnx", "tflite"):
        target = registry.load(registry.TARGETS, name)
        path = folder / f"tiny-96x64{target.suffix}"
        contract = contract_for(tiny_checkpoint, target, "fp32", (HEIGHT, WIDTH), FeedForward.stride)
        target.write(tiny_checkpoint.network(), contract, path)
        written[path.suffix] = path
    return written


@pytest.fixture(scope="module")
def photo() -> Image:
    return np.random.default_rng(0).random((1, 3, HEIGHT, WIDTH), np.float32)


def psnr_db(a: Image, b: Image) -> float:
    return psnr(float(np.square(a.astype(np.float64) - b).mean()))


# The runners ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "reference"), DELEGATES)
def test_a_file_paints_in_the_browser_as_on_the_cpu(
    name: str, reference: str, files: dict[str, Path], photo: Image
) -> None:
    runner: Runner = registry.load(registry.RUNNERS, name)
    assert runner.name == name
    assert runner.probe().status == "works"
    assert runner.emulated == (name.endswith("webgpu") and chromium.SOFTWARE_GPU)
    path = files[runner.suffixes[0]]
    on_cpu = registry.load(registry.RUNNERS, reference).open(path)
    session: Any = runner.open(path)

    picture = session.run(photo)
    assert (picture.shape, picture.dtype) == (photo.shape, np.float32)
    assert psnr_db(picture, on_cpu.run(photo)) >= MIN_PSNR_DB
    assert np.array_equal(session.run(photo), picture)
    assert session.size == (HEIGHT, WIDTH)
    assert session.contract == on_cpu.contract
    with pytest.raises(UsageError, match="takes 64x96 pixels"):
        session.run(photo[:, :, :32])

    seconds = session.bind(photo)()
    assert 0 < seconds < 60
    placement = session.placement()
    assert placement
    assert placement.resident
    assert (placement.partitions, placement.fallback_ops) == (1, ())
    session.tab.close()


@pytest.fixture(scope="module")
def pairs(tiny_pair: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The two files of a tiny network for any painting in a folder for each format, by suffix."""
    targets = [registry.load(registry.TARGETS, name) for name in ("onnx", "tflite")]
    return {target.suffix: both_files(tiny_pair, target, tmp_path_factory.mktemp(target.name)) for target in targets}


@pytest.mark.parametrize(("name", "reference"), DELEGATES)
def test_both_files_for_any_painting_run(name: str, reference: str, pairs: dict[str, Path]) -> None:
    (suffix,) = registry.load(registry.RUNNERS, name).suffixes
    sessions: list[Any] = run_as(pairs[suffix], name, reference, MIN_PSNR_DB)
    assert sessions[1].placement().resident
    for session in sessions:
        assert session.bind(np.zeros((1, 3, *session.size), np.float32))() > 0
        session.tab.close()


def test_a_file_that_the_browser_cannot_run_fails_and_the_next_does_not(files: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(files[".onnx"].read_bytes()[:1000])
    page = tab.Tab()
    value = np.zeros((1, 3, HEIGHT, WIDTH), np.float32)
    with pytest.raises(CheckError, match="onnxruntime-web on wasm failed: "):
        page.run(broken, "wasm", value)
    with pytest.raises(
        UnavailableError, match="onnxruntime-web on webnn cannot run here: this browser offers no WebNN"
    ):
        page.run(files[".onnx"], "webnn", value)
    assert page.run(files[".onnx"], "wasm", value).shape == value.shape
    page.close()


def test_a_browser_that_dies_is_told_of(files: dict[str, Path]) -> None:
    page = tab.Tab()
    os.killpg(page.browser.pid, signal.SIGKILL)
    with pytest.raises(CheckError, match="onnxruntime-web on wasm crashed the browser's page"):
        page.log(files[".onnx"], "wasm")
    page.close()


def test_a_browser_that_does_not_start_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "chromium"
    program.write_text("#!/bin/sh\nexit 7\n")
    program.chmod(0o755)
    monkeypatch.setattr(chromium, "find", lambda: program)
    with pytest.raises(CheckError, match="chromium ended at once, with code 7"):
        tab.Tab()


ONNX_LOG = """\
2026-11-22 18:45:59.064279 [V:onnxruntime:, session_state.cc:1377 VerifyEachNodeIsAssignedToAnEp] Node placements
2026-11-22 18:45:59.064354 [V:onnxruntime:, session_state.cc:1383 VerifyEachNodeIsAssignedToAnEp]  Node(s) placed on \
[WebGpuExecutionProvider]. Number of nodes: 4
2026-11-22 18:45:59.064445 [V:onnxruntime:, session_state.cc:1385 VerifyEachNodeIsAssignedToAnEp]   Conv (c1_token_1)
2026-11-22 18:45:59.064445 [V:onnxruntime:, session_state.cc:1385 VerifyEachNodeIsAssignedToAnEp]   Conv (c2_token_5)
2026-11-22 18:45:59.064615 [V:onnxruntime:, session_state.cc:1385 VerifyEachNodeIsAssignedToAnEp]   MemcpyFromHost (M)
2026-11-22 18:45:59.064659 [V:onnxruntime:, session_state.cc:1385 VerifyEachNodeIsAssignedToAnEp]   MemcpyToHost (M_9)
2026-11-22 18:45:59.064705 [V:onnxruntime:, session_state.cc:1383 VerifyEachNodeIsAssignedToAnEp]  Node(s) placed on \
[CPUExecutionProvider]. Number of nodes: 1
2026-11-22 18:45:59.064754 [V:onnxruntime:, session_state.cc:1385 VerifyEachNodeIsAssignedToAnEp]   Hardmax (hm)
2026-11-22 18:45:59.065000 [I:onnxruntime:, inference_session.cc:3094 Initialize] Session successfully initialized.
"""
LITERT_LOG = """\
INFO: [environment.cc:47] Adding options to the existing LiteRT environment
ERROR: Following operations are not supported by GPU delegate:
RELU_0_TO_1: Not supported op RELU_0_TO_1
3 operations will run on the GPU, and the remaining 2 operations will run on the CPU.
fully accelerated: false
"""


def test_what_runs_elsewhere_is_read_from_the_logs() -> None:
    read = onnxruntime_web.read_placement
    assert read(ONNX_LOG.splitlines(), "WebGpuExecutionProvider") == Placement(5, 4, 2, ("Hardmax",))
    assert read(["nothing of the kind"], "WebGpuExecutionProvider") is None
    log = LITERT_LOG.splitlines()
    on_cpu = Placement(5, 5, 1)
    assert litert_web.read_placement(log, on_cpu) == Placement(5, 3, 1, ("RELU_0_TO_1",))
    assert litert_web.read_placement([litert_web.FULL], on_cpu) == Placement(5, 5, 1)
    assert litert_web.read_placement(["fully accelerated: false"], on_cpu) is None


# Many devices --------------------------------------------------------------------------------------------------------


def test_two_devices_at_a_time(files: dict[str, Path]) -> None:
    told: list[Measurement] = []
    with ExitStack() as browsers:

        def open_two(url: str) -> None:
            for _ in range(2):
                browsers.enter_context(chromium.opened(f"{url}?start&delegate=wasm&delegate=webnn"))

        found = measure(
            list(files.values()), samples=3, warmup=1, devices=2, timeout_s=300, on_url=open_two, on_result=told.append
        )
    assert found == told
    assert len({id(m.device) for m in found}) == 2
    assert sorted((m.file.suffix, m.delegate, m.status) for m in found) == sorted(
        [
            (".onnx", "onnxruntime-web-wasm", "passed"),
            (".onnx", "onnxruntime-web-webnn", "could not run"),
            (".tflite", "litert-web-wasm", "passed"),
            (".tflite", "litert-web-webnn", "could not run"),
        ]
        * 2
    )
    for m in found:
        if m.status == "passed":
            assert m.actual
            assert m.device.isolated
            assert (len(m.warmup_ms), len(m.samples_ms), m.emulated, m.reason) == (1, 3, False, "")
            assert (m.init_ms or 0) > 0
            assert (m.first_ms or 0) > 0
            assert m.actual.threads == min(m.device.cores or 1, 4)
        else:
            assert "this browser offers no WebNN" in m.reason
            assert m.samples_ms == ()


def test_over_the_local_network_a_page_is_secure_and_has_threads(files: dict[str, Path]) -> None:
    try:
        (found,) = measure([files[".onnx"]], delegates=["wasm"], samples=1, lan=True, open_chromium=True, timeout_s=300)
    except UnavailableError as error:
        pytest.skip(str(error))
    assert found.status == "passed"
    assert found.device.secure
    assert found.device.isolated


# The page ------------------------------------------------------------------------------------------------------------


@contextmanager
def phone(url: str) -> Iterator[Any]:
    """A page of a phone's size with a finger on it."""
    playwright = pytest.importorskip("playwright.sync_api")
    flags = ["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
    with playwright.sync_playwright() as run:
        browser = run.chromium.launch(executable_path=chromium.find(), args=flags)
        page = browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True)
        page.set_default_timeout(120_000)  # milliseconds: two cores may have other work
        page.goto(url)
        yield page
        browser.close()


@contextmanager
def measuring(*paths: Path, **options: Any) -> Iterator[tuple[str, list[Measurement]]]:
    """`measure` in a thread; its URL, and its measurements as they come."""
    url, told, ready = [], [], threading.Event()

    def on_url(given: str) -> None:
        url.append(given)
        ready.set()

    run = threading.Thread(target=measure, args=[paths], kwargs={**options, "on_url": on_url, "on_result": told.append})
    run.start()
    assert ready.wait(60)
    yield url[0], told
    run.join(120)
    assert not run.is_alive()


def test_somebody_chooses_and_starts(files: dict[str, Path]) -> None:
    expect = pytest.importorskip("playwright.sync_api").expect
    with measuring(*files.values(), samples=2, warmup=0) as (url, told), phone(url) as page:
        start = page.get_by_role("button", name="Start")
        start.wait_for()
        expect(page.get_by_role("checkbox")).to_have_count(6)
        lacking = page.get_by_role("checkbox", name="webnn")
        assert [box.is_disabled() for box in lacking.all()] == [True, True]
        for box in page.get_by_role("checkbox", name="webgpu").all():
            box.uncheck()
        page.get_by_role("checkbox", name="tiny-96x64.tflite litert · wasm").uncheck()
        start.tap()
        page.get_by_text("Finished. The results are on the computer").wait_for()
        expect(page.get_by_text(" ms")).to_have_count(1)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390
    assert sorted((m.delegate, m.status) for m in told) == [
        ("litert-web-webnn", "could not run"),
        ("onnxruntime-web-wasm", "passed"),
        ("onnxruntime-web-webnn", "could not run"),
    ]


def test_bench_takes_the_results_of_a_page(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as stack:

        def open_it(url: str) -> None:
            stack.enter_context(chromium.opened(f"{url}?start&delegate=wasm"))

        monkeypatch.setattr("edgestyle.cli.bench._show_url", open_it)
        code = main(["bench", str(files[".onnx"]), "--browser", "--runs", "3", "--json"])
    out, err = capsys.readouterr()
    assert code == 0
    (result,) = json.loads(out)["results"]
    assert (result["delegate"], result["status"], len(result["samples_ms"])) == ("onnxruntime-web-wasm", "passed", 3)
    assert result["device"]
    assert f"tiny-96x64.onnx on onnxruntime-web-wasm on {result['device']}: " in err


def test_what_was_measured_is_kept_when_the_page_is_left(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgestyle.browser.measuring._GRACE_S", 0)
    with measuring(files[".onnx"], samples=9999, limit_s=600) as (url, told), phone(f"{url}?start") as page:
        page.get_by_text(re.compile(r"\d\d of 9999")).wait_for(timeout=120_000)
        page.goto("about:blank")
        for _ in range(600):  # what is posted as a page is left is lost if the browser ends at once
            if told:
                break
            page.wait_for_timeout(100)
    assert [(m.delegate, m.status) for m in told] == [
        ("onnxruntime-web-wasm", "failed"),
        ("onnxruntime-web-webgpu", "could not run"),
        ("onnxruntime-web-webnn", "could not run"),
    ]
    assert told[0].reason == "the page was left"
    assert len(told[0].samples_ms) >= 9
