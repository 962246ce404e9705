"""Make docs/validation.md and the README's picture of a report: every network of the zoo, format, size and delegate.

    python docs/make_validation.py [MODEL...] [--folder build/zoo] [--page docs/validation.md]

It exports to the folder what is not there yet, validates file by file, and keeps each file's results
in its `results` and the report in its `report`. So it can be ended at any time and started again: what has been done
is not done again unless a network or a file has changed. Emulated delegates paint one photo, that of least contrast,
which is where rounding shows most. On two free cores it takes about a quarter of an hour for each network, most of it
Qualcomm's simulator.
"""

from __future__ import annotations

import argparse
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

from edgestyle import checkpoint, exporting, images, parts, registry, validation
from edgestyle.browser import chromium
from edgestyle.checkpoint import Checkpoint
from edgestyle.cli import output
from edgestyle.errors import EdgestyleError
from edgestyle.files import sha256, staged
from edgestyle.manifest import read_manifest
from edgestyle.report import write
from edgestyle.validation import Request, Result, report

PAGE = Path(__file__).with_name("validation.md")
PICTURE = Path(__file__).parent / "images" / "validate.png"
WINDOW = 1180, 1066
"""Of the browser that takes it, in pixels."""
SCHEMES = ("fp32", "fp16", "int8")
SIZES = ((256, 256), (512, 512))
ABOUT = """
Every network of the zoo on every delegate that runs on Linux. Made by `make validate-zoo`; the same for your own files:
`edgestyle validate build/ --report build/report`.
"""


def export_missing(networks: Sequence[Checkpoint], folder: Path) -> Iterator[Path | str]:
    """Export each network in each scheme that a target serves, at each size, unless its file is there.

    Of networks of several paintings there is also the filter of the first, of those for any painting that of the
    example; integer activations it alone can have.

    Yields:
        The files; for what could not be exported, why.
    """
    made: set[Path] = set()  # a style encoder is of one size
    targets = registry.load_all(registry.TARGETS)
    zoo = sorted(networks, key=lambda network: network.config.family == "adain")  # the long tables last
    for network, target, scheme in product(zoo, targets, SCHEMES):
        files = parts.of(network, target) if scheme != "int8" else []
        for part, asked in product([*files, parts.by_example(network, target)], SIZES):
            size = part.size(asked)
            path = folder / exporting.artifact_name(part.name, target, size, scheme)
            if path in made or scheme not in exporting.schemes(target):
                continue
            made.add(path)
            try:
                if not _is_made_from(path, network):
                    exporting.export(network, target, size, folder, scheme, part=part)
                yield path
            except EdgestyleError as error:
                yield f"{path.name}: {error}" if path.name not in str(error) else str(error)


def _is_made_from(path: Path, network: Checkpoint) -> bool:
    """Whether a file is there, and of the weights that the network has now."""
    manifest = read_manifest(path) if path.exists() else None
    return manifest is not None and manifest.contract.checkpoint_sha256 == network.sha256()


def results_of(path: Path, folder: Path) -> list[Result]:
    """A file's results, from `folder` if it has been validated before."""
    kept = folder / f"{path.name}-{sha256(path)[:16]}.pickle"
    if kept.is_file():
        found: list[Result] = pickle.loads(kept.read_bytes())  # noqa: S301  # our own
        return found
    request = Request(images.sample_photos(), emulated_pixels=256 * 256)
    found = list(validation.validate([path], request, output.progress))
    with staged(kept) as stage:
        (stage / kept.name).write_bytes(pickle.dumps(found))
    return found


def make(networks: Sequence[Checkpoint], folder: Path, page: Path) -> int:
    """Write the page; 1 if anything failed."""
    made = list(export_missing(networks, folder))
    results = [r for path in made if isinstance(path, Path) for r in results_of(path, folder / "results")]
    results = [result for result in results if "needs macOS" not in result.reason]
    write.write(folder / "report", report.document(results), report.as_json(results), report.cases(results))
    title, _, rest = (folder / "report" / "report.md").read_text(encoding="utf-8").partition("\n")
    refused = "".join(f"\n- {error}" for error in made if isinstance(error, str))
    missing = f"\nNot in the tables, because `export` refused them:\n{refused}\n" if refused else ""
    if page == PAGE:
        _take_picture((folder / "report" / "index.html").resolve())
    page.write_text(f"{title}\n{ABOUT}{missing}{rest}", encoding="utf-8")
    return 0 if report.passed(results) else 1


def _take_picture(page: Path) -> None:
    """The top of a page, as a browser on a desktop shows it."""
    program = chromium.find()
    if program is None:
        output.note(f"{PICTURE} is left as it was: there is no Chromium ({chromium.INSTALL})")
        return
    flags = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={WINDOW[0]},{WINDOW[1]}"]
    subprocess.run([program, *flags, f"--screenshot={PICTURE}", page.as_uri()], check=True, capture_output=True)  # noqa: S603


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="*")
    parser.add_argument("--folder", type=Path, default=Path("build/zoo"))
    parser.add_argument("--page", type=Path, default=PAGE)
    args = parser.parse_args()
    return make([checkpoint.find(model) for model in args.model] or checkpoint.zoo(), args.folder, args.page)


if __name__ == "__main__":
    sys.exit(main())
