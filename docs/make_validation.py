"""Make docs/validation.md: every network of the zoo, in fp32, fp16 and int8, at two sizes, on every delegate here.

    python docs/make_validation.py [FOLDER]

It exports what is not in FOLDER yet (default: build/zoo), validates all of it there, and keeps the report in
FOLDER/report. On two cores it takes about half an hour for each network, nearly all of it Qualcomm's simulator.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from edgestyle import checkpoint, exporting, registry
from edgestyle.cli import main
from edgestyle.errors import CheckError
from edgestyle.target import Target

PAGE = Path(__file__).with_name("validation.md")
SCHEMES = ("fp32", "fp16", "int8")
SIZES = ((256, 256), (512, 512))
ABOUT = """
Every network of the zoo on every delegate that runs on Linux. Made by `make validate-zoo`; the same for your own files:
`edgestyle validate build/ --report build/report`.
"""


def export_missing(folder: Path) -> Iterator[str]:
    """Export each network in each scheme that a target serves, at each size, unless its file is there.

    Yields:
        What could not be exported, and why.
    """
    targets: list[Target] = registry.load_all(registry.TARGETS)
    for network, target, scheme, size in product(checkpoint.zoo(), targets, SCHEMES, SIZES):
        path = folder / exporting.artifact_name(network.name, target, size, scheme)
        if scheme in exporting.schemes(target) and not path.exists():
            try:
                exporting.export(network, target, size, folder, scheme)
            except CheckError as error:
                yield str(error)


def make(folder: Path) -> int:
    """Write the page; 1 if anything failed."""
    refused = "".join(f"\n- {error}" for error in export_missing(folder))
    code = main(["validate", str(folder), "--report", str(folder / "report")])
    report = (folder / "report" / "report.md").read_text(encoding="utf-8")
    title, _, rest = report.partition("\n")
    missing = f"\nNot in the tables, because `export` refused them:\n{refused}\n" if refused else ""
    PAGE.write_text(f"{title}\n{ABOUT}{missing}{rest}", encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(make(Path(sys.argv[1] if len(sys.argv) > 1 else "build/zoo")))
