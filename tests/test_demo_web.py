"""The app for browsers in headless Chromium: camera, photos, engines, delegates, recording, offline, what goes wrong.

Every wait is for a state that the page tells of itself (`data-*` of its body), never for a time.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from edgestyle import demo, exporting, images, registry
from edgestyle.browser import chromium, packages, site
from edgestyle.checkpoint import Checkpoint
from edgestyle.cli import main
from edgestyle.files import sha256
from edgestyle.images import Image
from edgestyle.runner import Session, choose
from edgestyle.styling import Styling
from edgestyle.stylize import open_painter

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
pytest.importorskip("litert_torch")
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect

if not packages.folder().is_dir():
    pytest.skip(f"the browsers' runtimes are not installed; add them with: {packages.COMMAND}", allow_module_level=True)
if chromium.find() is None:
    pytest.skip(f"Chromium is not installed; add it with: {chromium.INSTALL}", allow_module_level=True)

SIDE = 128
"""Of the fixed files: software WebGPU is slow."""
LIMIT_MS = 300_000
"""For any one wait: two cores may have other work."""
CPU, GPU = "CPU", "WebGPU"
ONNX, LITERT = "ONNX Runtime", "LiteRT"
FLAGS = ("--no-sandbox", "--disable-background-networking", "--disable-component-update")
WEBGPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")


# What is served, and to whom -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny network's files: ONNX of fixed and of free size, and TFLite."""
    folder, app = tmp_path_factory.mktemp("exported"), registry.load(registry.DEMOS, "web")
    sizes = [(SIDE, SIDE), "dynamic"]
    files = demo.gather(
        app, [str(tiny_checkpoint.folder)], sizes, None, folder, progress=lambda _: nullcontext(), note=pytest.fail
    )
    assert sorted(file.name for file in files) == ["tiny-128.onnx", "tiny-128.tflite", "tiny-dynamic.onnx"]
    return {file.name: file for file in files}


@pytest.fixture(scope="module")
def folder(exported: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site with these files."""
    folder = tmp_path_factory.mktemp("site")
    registry.load(registry.DEMOS, "web").write(folder, list(exported.values()))
    return folder


@pytest.fixture(scope="module")
def camera_picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the fake camera sees: a dark left half and a bright right half, as YUV4MPEG2 of two equal pictures."""
    path = tmp_path_factory.mktemp("camera") / "halves.y4m"
    luma = np.full((96, 128), 60, np.uint8)
    luma[:, 64:] = 200
    frame = b"FRAME\n" + luma.tobytes() + np.full(2 * 48 * 64, 128, np.uint8).tobytes()
    path.write_bytes(b"YUV4MPEG2 W128 H96 F30:1 Ip A1:1 C420jpeg\n" + 2 * frame)
    return path


@pytest.fixture(scope="module")
def run() -> Iterator[Any]:
    with playwright.sync_playwright() as run:
        yield run


@pytest.fixture(scope="module")
def browser(run: Any, camera_picture: Path) -> Iterator[Any]:
    """With a software GPU and a camera that shows `camera_picture`."""
    camera = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={camera_picture}")
    browser = run.chromium.launch(executable_path=chromium.find(), args=[*FLAGS, *WEBGPU, *camera])
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with site.serving(folder) as url:
        yield url


@contextmanager
def opened(browser: Any, url: str, *, faults: bool = False, **options: Any) -> Iterator[Any]:
    """The page, once it has painted its first picture; it must not complain, unless `faults` are made."""
    said: list[str] = []

    def hear(message: Any) -> None:
        if message.type in ("error", "warning") and "blocked by Playwright" not in message.text:
            said.append(message.text)

    context = browser.new_context(**{"service_workers": "block", **options})
    page = context.new_page()
    page.set_default_timeout(LIMIT_MS)
    page.on("console", hear)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(url)
    if not faults:
        page.wait_for_selector("body[data-state=idle][data-paintings]")
    yield page
    context.close()
    assert faults or not said, said


def count(page: Any) -> int:
    """How many pictures the page has shown."""
    return int(page.get_attribute("body", "data-paintings") or 0)


def after(page: Any, action: Callable[[], object], more: int = 1) -> None:
    """Do something, and wait until so many more pictures have been shown and the page is at rest."""
    wanted = count(page) + more
    action()
    page.wait_for_function(
        "least => document.body.dataset.state === 'idle' && Number(document.body.dataset.paintings) >= least",
        arg=wanted,
    )


def pick(page: Any, name: str) -> None:
    """Choose a radio button; the page paints anew."""
    box = page.get_by_role("radio", name=name, exact=True)
    if not box.is_checked():
        after(page, lambda: box.check(force=True))


def upload(page: Any, photo: bytes, name: str = "photo.png", kind: str = "image/png") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": photo})


def slide(page: Any, name: str, value: int) -> None:
    page.get_by_role("slider", name=name).fill(str(value))


def saved(page: Any) -> Any:
    """What "Save" gives, (height, width, 3)."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Save").click()
    return np.asarray(PIL.Image.open(download.value.path()).convert("RGB"))


def encode(photo: Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(images.to_uint8(photo)).save(file, kind, **options)
    return file.getvalue()


def warning(page: Any) -> str:
    page.wait_for_selector("#warning:not(:empty)")
    return str(page.inner_text("#warning"))


def painted_in_python(session: Session, photo: Image) -> Any:
    fitted, window = images.fit(photo, (SIDE, SIDE))
    return images.to_uint8(window.crop(session.run(fitted)))


# Painting ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("engine", "name"), [(ONNX, "tiny-128.onnx"), (LITERT, "tiny-128.tflite")])
def test_each_engine_and_delegate_paints_as_python_does(
    engine: str, name: str, browser: Any, url: str, exported: dict[str, Path]
) -> None:
    """To within 2 of 255 at every pixel: other kernels add up in another order, and both sides round to 8 bits."""
    photo = images.sample_photos()["coffee"]
    expected = painted_in_python(choose(exported[name]).open(exported[name]), photo)
    with opened(browser, url) as page:
        pick(page, engine)
        pick(page, str(SIDE))
        after(page, lambda: upload(page, encode(photo)))
        for delegate in (CPU, GPU):
            pick(page, delegate)
            assert page.get_attribute("body", "data-delegate") == ("wasm" if delegate == CPU else "webgpu")
            assert page.inner_text("#warning") == ""
            painting = saved(page)
            assert painting.shape == expected.shape
            assert np.abs(painting.astype(int) - expected).max() <= 2
        assert "emulated" in page.inner_text("#where") or not chromium.SOFTWARE_GPU


@pytest.mark.parametrize("size", [str(SIDE), "384"])
def test_the_golden_bundle_proves_decoding_resizing_and_the_call(size: str, browser: Any, url: str) -> None:
    """Fixed size and free size; the page itself holds the tensor to 2/255 and the picture to 40 dB."""
    with opened(browser, url) as page:
        pick(page, size)
        page.get_by_text("About this app").click()
        page.get_by_role("button", name="Check this device").click()
        page.wait_for_selector("body[data-checked]")
        assert page.get_attribute("body", "data-checked") == "passed", page.inner_text("#checked")


def test_a_turned_photo_of_12_megapixels(browser: Any, url: str, tmp_path: Path) -> None:
    coffee = images.to_uint8(images.sample_photos()["coffee"])
    stored = PIL.Image.fromarray(np.rot90(coffee)).resize((3000, 4000))  # its orientation turns it back
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "large.jpg"
    stored.save(path, quality=90, exif=exif)
    fitted, window = images.fit(images.read(path), (SIDE, SIDE))
    with opened(browser, url) as page:
        pick(page, str(SIDE))
        after(page, lambda: upload(page, path.read_bytes(), path.name, "image/jpeg"))
        slide(page, "Strength", 0)
        assert np.abs(saved(page).astype(int) - images.to_uint8(window.crop(fitted))).max() <= 2


def test_strength_mixes_with_the_photo(browser: Any, url: str) -> None:
    with opened(browser, url) as page:
        pick(page, str(SIDE))
        full = saved(page).astype(int)
        slide(page, "Strength", 0)
        photo = saved(page).astype(int)
        slide(page, "Strength", 50)
        assert page.inner_text("#strength-value") == "50 %"
        assert np.abs(saved(page) - (full + photo) / 2).max() <= 2


def test_a_photo_can_be_dropped_or_pasted(browser: Any, url: str) -> None:
    photo = encode(images.limit(images.sample_photos()["rocket"], 160))
    bring = """([bytes, kind]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], "photo.png", { type: "image/png" }));
        const options = { bubbles: true, cancelable: true };
        document.body.dispatchEvent(kind === "drop"
            ? new DragEvent("drop", { ...options, dataTransfer: transfer })
            : new ClipboardEvent("paste", { ...options, clipboardData: transfer }));
    }"""
    with opened(browser, url) as page:
        pick(page, str(SIDE))
        for kind in ("drop", "paste"):
            after(page, lambda kind=kind: page.evaluate(bring, [list(photo), kind]))
        assert saved(page).shape[1] == SIDE


# Camera and recording ------------------------------------------------------------------------------------------------


def test_the_camera_is_painted_mirrored_and_recorded(browser: Any, url: str) -> None:
    with opened(browser, url, permissions=["camera"]) as page:
        pick(page, str(SIDE))
        after(page, lambda: page.get_by_role("button", name="Camera").click(), more=3)
        expect(page.locator("#fps")).to_contain_text("fps")
        slide(page, "Strength", 0)
        left, right = np.split(saved(page).astype(float), 2, axis=1)
        assert left.mean() > right.mean() + 80  # the file has it the other way round

        page.get_by_role("button", name="Record").click()
        after(page, lambda: None, more=5)
        hide = "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true }); "
        page.evaluate(hide + "document.dispatchEvent(new Event('visibilitychange')); }", True)
        page.wait_for_selector("body[data-recording=paused]")
        page.evaluate(hide + "document.dispatchEvent(new Event('visibilitychange')); }", False)
        page.wait_for_selector("body[data-recording=on]")
        assert "paused while this tab was hidden" in warning(page)
        after(page, lambda: None, more=5)
        with page.expect_download() as download:
            page.get_by_role("button", name="Record").click()
        video = Path(download.value.path()).read_bytes()
        assert re.fullmatch(r"tiny\.(webm|mp4)", download.value.suggested_filename)

        width, height, moved = page.evaluate(
            """async bytes => {
                const video = document.createElement("video");
                video.muted = true;
                video.src = URL.createObjectURL(new Blob([new Uint8Array(bytes)]));
                const moved = new Promise(resolve => video.addEventListener("timeupdate", () =>
                    video.currentTime > 0 && resolve(video.currentTime)));
                await video.play();
                return [video.videoWidth, video.videoHeight, await moved];
            }""",
            list(video),
        )
        assert (width, height) == (SIDE, 96)
        assert moved > 0
        page.get_by_role("button", name="Camera").click()
        expect(page.locator("#status")).to_have_text("The camera is off.")
        expect(page.get_by_role("button", name="Record")).to_be_disabled()


def test_a_camera_that_is_refused_is_explained_and_photos_still_work(browser: Any, url: str) -> None:
    with opened(browser, url) as page:
        page.get_by_role("button", name="Camera").click()
        assert "The camera was refused. Allow it" in warning(page)
        after(page, lambda: upload(page, encode(images.sample_photos()["coffee"])))
        assert page.inner_text("#warning") == ""


def test_without_camera_and_webgpu(run: Any, url: str) -> None:
    browser = run.chromium.launch(executable_path=chromium.find(), args=[*FLAGS, "--disable-gpu"])
    with opened(browser, url, permissions=["camera"]) as page:
        pick(page, str(SIDE))
        page.get_by_role("button", name="Camera").click()
        assert warning(page) == "No camera was found here. Photos work without one."
        pick(page, GPU)
        assert "Runs on the CPU instead. WebGPU: " in warning(page)
        assert page.get_attribute("body", "data-delegate") == "wasm"
        assert "CPU" in page.inner_text("#where")
        pick(page, "WebNN")
        assert "this browser offers no WebNN" in warning(page)
    browser.close()


# Offline -------------------------------------------------------------------------------------------------------------


def test_after_one_visit_it_works_without_a_server(browser: Any, folder: Path) -> None:
    with ExitStack() as stack:
        serving = ExitStack()
        url = stack.enter_context(serving).enter_context(site.serving(folder))
        page = stack.enter_context(opened(browser, url, service_workers="allow"))
        page.wait_for_selector("body[data-offline=ready]")
        serving.close()
        page.reload()
        page.wait_for_selector("body[data-state=idle][data-paintings]")
        page.wait_for_selector("body[data-offline=ready]")
        assert page.evaluate("crossOriginIsolated")
        after(page, lambda: upload(page, encode(images.sample_photos()["coffee"])))


def test_on_a_host_without_headers_threads_come_with_the_second_load(
    browser: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgestyle.browser.listening.HEADERS", {})
    with site.serving(folder) as url, opened(browser, url, faults=True, service_workers="allow") as page:
        page.wait_for_function("crossOriginIsolated && document.body.dataset.state === 'idle'")
        assert count(page) > 0


# Any painting --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tiny_pair: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny style encoder and its transformer, as ONNX files."""
    app = replace(registry.load(registry.DEMOS, "web"), targets=("onnx",))
    folder = tmp_path_factory.mktemp("exported")
    files = demo.gather(app, [str(tiny_pair.folder)], [(64, 96)], None, folder, lambda _: nullcontext(), pytest.fail)
    assert {file.name for file in files} == {"tiny-96x64.onnx", "tiny-encoder-256.onnx"}
    return {file.name: file for file in files}


def test_any_painting_is_a_style_and_two_can_be_blended(pair: dict[str, Path], browser: Any, tmp_path: Path) -> None:
    """As `edgestyle stylize --style` paints by the same two files, to within 2 of 255."""
    site_folder = tmp_path / "site"
    site_folder.mkdir()
    registry.load(registry.DEMOS, "web").write(site_folder, list(pair.values()))
    photos = images.sample_photos()
    names = ("rocket", "astronaut")
    for name in names:
        images.write(tmp_path / f"{name}.png", photos[name])
    styles = tuple(tmp_path / f"{name}.png" for name in names)

    def expected(weights: tuple[float, float], strength: float) -> Any:
        painter = open_painter(str(pair["tiny-96x64.onnx"]), None, Styling(styles, weights, strength))
        return images.to_uint8(painter.paint(photos["coffee"]))

    with site.serving(site_folder) as url, opened(browser, url) as page:
        after(page, lambda: upload(page, encode(photos["coffee"])))
        for style in styles:
            after(page, lambda style=style: page.set_input_files("#painting", style))
        assert np.abs(saved(page).astype(int) - expected((0, 1), 1)).max() <= 2
        after(page, lambda: page.get_by_label("with").select_option("rocket"))
        after(page, lambda: slide(page, "Blend", 25))
        after(page, lambda: slide(page, "Strength", 50))
        assert np.abs(saved(page).astype(int) - expected((0.25, 0.75), 0.5)).max() <= 2


# What goes wrong -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("photo", "reason"),
    [
        (b"", "the photo is empty"),
        (b"no picture at all", "not a picture that the browser can read"),
        (encode(np.full((1, 3, 64, 64), 0.5, np.float32))[:60], "not a picture that the browser can read"),
    ],
    ids=["empty", "text", "cut short"],
)
def test_a_photo_that_cannot_be_read_leaves_the_one_before(photo: bytes, reason: str, browser: Any, url: str) -> None:
    with opened(browser, url) as page:
        before = saved(page)
        upload(page, photo)
        assert reason in warning(page)
        assert page.get_attribute("body", "data-state") == "failed"
        assert np.array_equal(saved(page), before)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": 404, "body": ""}, "tiny-128.onnx cannot be fetched: the server says 404"),
        ({"body": "damaged"}, "tiny-128.onnx is not the file that its manifest describes"),
    ],
    ids=["missing", "damaged"],
)
def test_a_model_that_does_not_load_is_told_of(answer: dict[str, Any], reason: str, browser: Any, url: str) -> None:
    with opened(browser, url, faults=True) as page:
        page.wait_for_selector("body[data-state=idle][data-paintings]")
        page.context.route("**/tiny-128.onnx", lambda route: route.fulfill(**answer))
        box = page.get_by_role("radio", name=str(SIDE), exact=True)
        box.check(force=True)
        assert reason in warning(page)
        pick(page, "384")
        assert page.inner_text("#warning") == ""


def test_where_memory_does_not_suffice_a_smaller_picture_is_painted(browser: Any, folder: Path, tmp_path: Path) -> None:
    limit = """
        const create = self.createImageBitmap;
        self.createImageBitmap = (source, ...rest) => source instanceof ImageData && source.width > 300
            ? Promise.reject(new RangeError("Array buffer allocation failed")) : create(source, ...rest);
    """
    shutil.copytree(folder, tmp_path / "site", copy_function=os.link)
    script = tmp_path / "site" / "assets" / "worker.js"
    script.unlink()
    script.write_text(limit + (folder / "assets" / "worker.js").read_text(encoding="utf-8"), encoding="utf-8")
    with site.serving(tmp_path / "site") as url, opened(browser, url, faults=True) as page:
        assert warning(page) == "There is not enough memory for 384 pixels; painted at 256 instead."
        assert max(saved(page).shape) == 256


# For everybody -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_it_is_accessible_and_fits_a_phone(scheme: str, browser: Any, url: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    screen = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "color_scheme": scheme}
    with opened(browser, url, **screen) as page:
        page.get_by_text("About this app").click()
        found = axe.run(page)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_keyboard_reaches_everything(browser: Any, url: str) -> None:
    with opened(browser, url) as page:
        pick(page, str(SIDE))
        divider = page.get_by_role("slider", name="Divider")
        divider.focus()
        page.keyboard.press("Home")
        assert page.get_attribute("body", "data-divider") == "left"
        page.get_by_role("radio", name=ONNX).focus()
        after(page, lambda: page.keyboard.press("ArrowRight"))
        expect(page.get_by_role("radio", name=LITERT)).to_be_checked()
        expect(page.get_by_role("radio", name=LITERT)).to_be_focused()


# The command ---------------------------------------------------------------------------------------------------------


def test_what_was_exported_is_used_again(
    exported: dict[str, Path], tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "export", pytest.fail)
    app, folder = registry.load(registry.DEMOS, "web"), exported["tiny-128.onnx"].parent
    again = demo.gather(
        app, [str(tiny_checkpoint.folder)], [(SIDE, SIDE)], None, folder, lambda _: nullcontext(), pytest.fail
    )
    assert again == [exported["tiny-128.onnx"], exported["tiny-128.tflite"]]


def test_a_static_site_is_whole(exported: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "site"
    assert main(["demo", "web", "--model", str(exported["tiny-128.onnx"]), "--out", str(out)]) == 0
    assert "tiny-128.onnx\n\nnext:\n  python -m http.server --directory" in capsys.readouterr().out
    listed = json.loads((out / "service-worker.js").read_text().partition("self.FILES = ")[2].partition(";\n")[0])
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert listed.keys() | {"service-worker.js"} == found
    assert all(sha256(out / name) == digest for name, digest in listed.items())
    assert "runtimes/onnxruntime-web/ort.wasm.min.mjs" in found
    assert not any("litert" in name for name in found)  # no file needs it


def test_it_is_served_until_ctrl_c(exported: dict[str, Path]) -> None:
    command = [sys.executable, "-m", "edgestyle", "demo", "web", "--model", str(exported["tiny-128.onnx"])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        url = process.stdout.readline().strip()
        with urllib.request.urlopen(url) as answer:  # noqa: S310  # our own
            assert b"<title>edgestyle</title>" in answer.read()
            assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        with pytest.raises(urllib.error.HTTPError, match="404") as refused:
            urllib.request.urlopen(f"{url}models/")  # noqa: S310
        refused.value.close()
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
