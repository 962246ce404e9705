"""The app for browsers: a static site that paints photos and the camera's picture on the visitor's own device.

web/src      its source, in TypeScript; `npm run build` in web/ makes
web/site     the built site, which ships with the package, so that no Node is needed to use it

`write` adds what depends on the request and on this machine: the exported files, and the two runtimes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from edgestyle import images
from edgestyle.browser import packages, site
from edgestyle.demo import Demo
from edgestyle.files import sha256
from edgestyle.manifest import manifest_path

from .projects import add_model

SITE = Path(__file__).parent / "web" / "site"
THUMBNAIL = 192
"""Height and width of a style's picture in the strip, in pixels; it is shown at half of that."""

_ONNX = (
    *("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"),
    *("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm"),
)
"""Of onnxruntime-web: the build for the CPU, and the one for WebGPU and WebNN."""
_LITERT = ("litert_wasm_internal", "litert_wasm_jspi_internal", "litert_wasm_threaded_internal")
"""Of LiteRT.js: the build without threads, the one for WebGPU, and the one with threads."""


def write(folder: Path, files: Sequence[Path]) -> None:
    """Write the site into an empty folder, with exported files.

    Raises:
        UnavailableError: The runtimes have not been fetched; the message says how.
        ConfigError: A file has lost its manifest or its golden bundle.
    """
    modules = packages.installed()
    shutil.copytree(SITE, folder, dirs_exist_ok=True)
    _write_runtimes(folder / "runtimes", modules, {file.suffix for file in files})
    (folder / "models").mkdir()
    entries = [_add_model(folder / "models", file) for file in files]
    (folder / "models" / "models.json").write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    _name_contents(folder)


def next_steps(folder: Path) -> list[str]:
    """How to look at a site that was written, and what its host must do."""
    return [
        f"python -m http.server --directory {folder}    # and open http://localhost:8000",
        "or copy the folder to any web server; cameras and WebGPU want https there",
    ]


def _name_contents(folder: Path) -> None:
    """Tell the service worker the hash of each file: it keeps contents, and fetches again only what has changed."""
    script = folder / "service-worker.js"
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != script)
    contents = {path.relative_to(folder).as_posix(): sha256(path) for path in paths}
    script.write_text(f"self.FILES = {json.dumps(contents)};\n{script.read_text(encoding='utf-8')}", encoding="utf-8")


def _write_runtimes(folder: Path, modules: Path, suffixes: set[str]) -> None:
    """What runs files of these kinds in a browser."""
    if ".onnx" in suffixes:
        _copy(modules / "onnxruntime-web" / "dist", folder / "onnxruntime-web", _ONNX)
    if ".tflite" in suffixes:
        names = [f"{name}.{suffix}" for name in _LITERT for suffix in ("js", "wasm")]
        _copy(modules / "@litertjs" / "core" / "wasm", folder / "litert" / "wasm", names)
        # Workers have no import maps, so what it imports by a bare name is named by its place.
        core = (modules / "@litertjs" / "core" / "dist" / "index.js").read_text(encoding="utf-8")
        core = core.replace('"@litertjs/wasm-utils"', '"./wasm-utils.js"')
        (folder / "litert" / "core.js").write_text(core, encoding="utf-8")
        shutil.copyfile(modules / "@litertjs" / "wasm-utils" / "dist" / "index.js", folder / "litert" / "wasm-utils.js")


def _copy(source: Path, folder: Path, names: Sequence[str]) -> None:
    folder.mkdir(parents=True)
    for name in names:
        shutil.copyfile(source / name, folder / name)


def _add_model(folder: Path, file: Path) -> dict[str, str]:
    """Put a file, its manifest, its golden bundle and a thumbnail into `folder`; its entry in the list of all."""
    manifest = add_model(file, folder, folder)
    thumbnail = f"{manifest.contract.model}.jpg"
    if not (folder / thumbnail).exists():
        golden = manifest.golden
        painting = images.Window(*golden.window).crop(images.read(file.with_name(golden.expected.name)))
        images.write(folder / thumbnail, images.centre_crop(painting, (THUMBNAIL, THUMBNAIL)))
    return {"manifest": manifest_path(file).name, "thumbnail": thumbnail}


DEMO = Demo(
    name="web",
    title="the app for browsers",
    targets=("onnx", "tflite"),
    sizes=((256, 256), (512, 512)),
    write=write,
    next_steps=next_steps,
    any_painting=True,
    serve=site.serving,
)
