"""Our zoo against other people's style networks, measured in turn on this machine.

`python -m edgestyle.latency.peers PEERS --out docs/latency.md`, where PEERS is a folder of theirs: `.onnx` and
`.tflite` files that take one picture, and Magenta's `*style_transfer*.tflite`, which take a picture and a style. Each
is compared with our files of its size.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from edgestyle import artifacts, checkpoint, exporting, images, parts, processors, registry
from edgestyle.checkpoint import Checkpoint
from edgestyle.errors import EdgestyleError
from edgestyle.files import write_text
from edgestyle.latency import collect, plan, report
from edgestyle.latency.collect import Findings
from edgestyle.latency.measure import Effort
from edgestyle.latency.plan import Job
from edgestyle.latency.results import Report, Result
from edgestyle.latency.subject import File, Ready, example
from edgestyle.report import markdown
from edgestyle.report.document import Cell, Column, Document, Section, Table
from edgestyle.runner import Availability
from edgestyle.score import SIZE, Score, mean, scores
from edgestyle.stylize import open_painter
from edgestyle.target import Target

TARGETS = ("onnx", "tflite")
SCHEMES = ("fp32", "int8")
_EFFORT = Effort(most_s=3, compare_most_s=16, settling_runs=1)
"""With it, a network of the zoo against all peers takes about two and a half minutes on two calm cores."""
_PAINTINGS = {"wave": "great_wave", "scream": "the_scream"}
"""What is in the name of a peer -> the painting that it has learned."""
_MAGENTA = "style_transfer"
_PREDICTOR = "style_predict"


@dataclass(frozen=True)
class Magenta(File):
    """Magenta's transfer network, which takes a picture and a style; an app predicts the style once a painting."""

    def open(self) -> Ready:
        """See `Subject`."""
        import numpy as np
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(self.path), num_threads=processors.usable())
        interpreter.allocate_tensors()
        picture, style = sorted(interpreter.get_input_details(), key=lambda end: end["shape"][3])
        height, width = (int(side) for side in picture["shape"][1:3])
        vector = np.random.default_rng(0).normal(0, 0.1, style["shape"]).astype(np.float32)
        output = interpreter.get_output_details()[0]["index"]

        def bind() -> Callable[[], object]:
            photo = np.ascontiguousarray(example((height, width)).transpose(0, 2, 3, 1))
            return lambda: run(photo)

        def run(photo: object) -> object:
            interpreter.set_tensor(picture["index"], photo)
            interpreter.set_tensor(style["index"], vector)
            interpreter.invoke()
            return interpreter.get_tensor(output)

        return Ready(bind, (height, width), fixed=True)


def peer_jobs(folder: Path) -> list[Job]:
    """The networks of others in a folder; those that predict a style are none.

    Raises:
        UsageError: There is no such folder, or nothing of the kind in it.
    """
    paths = [path for path in artifacts.find([str(folder)]) if path.suffix in (".onnx", ".tflite")]
    jobs = []
    for path in paths:
        if _MAGENTA in path.name:
            about = plan.about(path, None, "litert-cpu")
            jobs.append(Job(about, Magenta(path, "litert-cpu"), Availability("works")))
        elif _PREDICTOR not in path.name:
            jobs += plan.jobs([str(path)])
    return jobs


def export_zoo(sizes: Mapping[str, Sequence[tuple[int, int]]], folder: Path, findings: Findings) -> list[Job]:
    """Our networks to each target at its `sizes`, unless `folder` has them; what cannot be exported is a note.

    Of networks that differ in weights only, the first stands for all: they take the same time.
    """
    found: dict[str, Checkpoint] = {}
    for known in checkpoint.zoo():
        found.setdefault(str((known.config.family, sorted(known.config.network.items()))), known)
    paths = []
    for network, name, scheme in product(found.values(), sizes, SCHEMES):
        target: Target = registry.load(registry.TARGETS, name)
        # Integers need one painting: of a pair, the transformer with an example folded in.
        chosen = [parts.by_example(network, target)] if scheme == "int8" else parts.of(network, target)
        for size, part in product(sizes[name], chosen):
            try:
                with findings.progress(f"exporting {part.name} to {target.title}, {scheme}, {size[1]}x{size[0]}"):
                    paths.append(exporting.export_unless_there(network, target, size, folder, scheme, part))
            except EdgestyleError as error:
                findings.notes.append(f"{part.name} to {target.title}, {scheme}: {error}")
    return plan.jobs(map(str, dict.fromkeys(paths))) if paths else []


def sizes_by_target(results: Sequence[Result]) -> dict[str, list[tuple[int, int]]]:
    """The sizes at which ours are to be exported: a peer that runs on LiteRT alone is met there alone."""
    by_suffix = {".onnx": TARGETS, ".tflite": ("tflite",)}
    found: dict[str, set[tuple[int, int]]] = {}
    for result in results:
        for target in by_suffix[Path(result.artifact).suffix]:
            if result.size:
                found.setdefault(target, set()).add(result.size)
    return {target: sorted(sizes) for target, sizes in found.items()}


def contests(ours: Sequence[Job], theirs: Sequence[Job], results: Sequence[Result]) -> list[tuple[Job, Job]]:
    """Each of ours with every peer of its size; Magenta's, which run on LiteRT, with those on LiteRT.

    Of peers with as many bytes, which are one network with other weights, the first stands for all.
    """
    size = {(result.artifact, result.delegate): result.size for result in results if result.samples_ms}
    found, networks = [], dict[int, Job]()
    for job in theirs:
        networks.setdefault(job.about.bytes, job)
    for peer in networks.values():
        alike = [job for job in ours if _key(job) in size and size[_key(job)] == size.get(_key(peer))]
        same = [job for job in alike if job.about.delegate == peer.about.delegate]
        found += [(job, peer) for job in (same if isinstance(peer.subject, Magenta) else alike)]
    return found


def _key(job: Job) -> tuple[str, str]:
    return job.about.artifact, job.about.delegate


# Score --------------------------------------------------------------------------------------------------------------


def scored(
    ours: Sequence[Job], theirs: Sequence[Job], data: Path | None, count: int
) -> Iterator[tuple[str, str, Score]]:
    """Content and style of the peers and of ours that have learned the same painting: name, painting, score.

    Args:
        ours: Exported files; those in 8 bits are scored beside the float network.
        theirs: Peers; those that take any style are left out, the score is that of one.
        data: A folder with `weights/`, `styles/gallery/` and `photos/val/`; what EDGESTYLE_DATA names if None.
        count: How many photos.

    Raises:
        EdgestyleError: Something is not in `data`.
    """
    from edgestyle.losses import PerceptualLoss
    from edgestyle.perceptual import VGG19, WEIGHTS_NAME, find_vgg_weights
    from edgestyle.training.photos import load_painting

    weights = find_vgg_weights(data / "weights" / WEIGHTS_NAME if data else None)
    network, data = VGG19(weights), weights.parents[1]
    photos = images.find([str(data / "photos" / "val")])[:count]
    zoo = {known.name: known for known in checkpoint.zoo()}
    for part, painting in _PAINTINGS.items():
        peers = [job.about.artifact for job in theirs if part in job.about.model]
        mine = [job.about.artifact for job in ours if job.about.model == painting and job.about.scheme != "fp32"]
        at_size = [path for path in mine if f"-{SIZE}-" in path]
        models = [*([painting] if painting in zoo else []), *at_size, *peers]
        loss = PerceptualLoss(network, load_painting(data / "styles" / "gallery" / f"{painting}.jpg", SIZE))
        for model in models:
            yield Path(model).name, painting, mean(list(scores(open_painter(model), photos, loss)))


# The page -----------------------------------------------------------------------------------------------------------

_LEAD = """\
Our files against other people's, run in turn on one machine ('make bench-peers'). Ratios carry over to other \
machines better than milliseconds do. Peers are Johnson-type networks of ml5's fast-style-transfer (1.68 M weights, \
one painting each) and Magenta's transfer network for any style, the reference on Android, without its predictor."""
_COSTS = """\
Peak memory is that of a process that does nothing else, with Python and the runtime (60 to 100 MB) in it; drift \
is the worst PSNR against the float network over the photos of the export's check."""


def page(found: Report, drifts: dict[str, float], score: Sequence[tuple[str, str, Score]], photos: int) -> str:
    """docs/latency.md.

    Args:
        found: What was measured.
        drifts: Artifact -> PSNR in dB against its float network.
        score: Network, painting and score.
        photos: How many photos the score is the mean of.
    """
    faster = Column("times faster", numeric=True)
    columns = (Column("ours"), Column("peer"), faster, Column("95 % interval"))
    rows = [
        [
            Cell(_short(comparison.a)),
            Cell(_short(comparison.b)),
            Cell(f"{1 / comparison.ratio:.1f}", 1 / comparison.ratio),
            Cell(f"{1 / comparison.ci95[1]:.1f} to {1 / comparison.ci95[0]:.1f}"),
        ]
        for comparison in found.comparisons
    ]
    sections = [
        Section("How many times faster", "", [Table(columns, rows)]),
        Section("Time, memory and size", _COSTS, [_costs(found, drifts)]),
    ]
    if score:
        titles = (
            Column("network"),
            Column("painting"),
            *(Column(t, numeric=True) for t in ("content", "style", "sum")),
        )
        cells = [
            [Cell(name), Cell(painting), *(Cell(f"{x:.3f}", x) for x in (s.content, s.style, s.total))]
            for name, painting, s in score
        ]
        text = (
            f"Means over {photos} photos at 512x512 that ours have not seen, as by 'edgestyle score'. Lower is better."
        )
        sections.append(Section("Score", text, [Table(titles, cells)]))
    notes = [note for note in found.notes if "no manifest" not in note]  # of course others have none
    if notes:
        sections.append(Section("Notes", "\n\n".join(notes)))
    title = "Latency against other people's networks"
    return markdown.render(Document(title, None, _LEAD, sections, report.facts(found)))


def _costs(found: Report, drifts: dict[str, float]) -> Table:
    titles = ("size", "p50 ms", "p90 ms", "first ms", "peak MB", "file kB", "drift dB", "GMAC", "GFLOP/s")
    columns = [Column(title, numeric=True) for title in (*titles, "of the fp32 roofline")]
    rows = []
    for result in found.results:
        if not result.measured:
            continue
        kilobytes, drift = result.bytes / 1e3, drifts.get(result.artifact)
        values = (result.p50_ms, result.p90_ms, result.first_ms, result.peak_mb, kilobytes, drift, result.gmac)
        cells = [Cell(report.number(value), value) for value in (*values, result.gflops)]
        share = Cell(f"{result.roofline:.0%}" if result.roofline else "", result.roofline)
        names = (Path(result.artifact).name, result.delegate, report.size_text(result))
        rows.append([*map(Cell, names), *cells, share])
    return Table([Column("file"), Column("runtime"), *columns], rows)


def _short(label: str) -> str:
    """Without the folder."""
    return label.rpartition("/")[2]


def contend(peers: Path, build: Path, findings: Findings) -> tuple[list[Job], list[Job]]:
    """Time the peers, export ours at their sizes into `build`, time them too, and run each with its peers in turn.

    Returns:
        Ours and theirs.

    Raises:
        EdgestyleError: The folder has no file that can be timed.
    """
    theirs = peer_jobs(peers)
    findings.measure_machine()
    findings.measure(theirs)
    ours = export_zoo(sizes_by_target(findings.results), build, findings)
    findings.measure(ours)
    pairs = contests(ours, theirs, findings.results)
    findings.compare(pairs, gated=False)
    findings.notes += [f"{row.label}: {row.status}, {row.reason}" for row in findings.results if row.status != "passed"]
    return ours, theirs


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m edgestyle.latency.peers", description=__doc__)
    parser.add_argument("peers", type=Path, help="a folder of other people's .onnx and .tflite files")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the page, in Markdown")
    parser.add_argument(
        "--build", type=Path, default=Path("build/zoo"), metavar="FOLDER", help="for the exported files"
    )
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="for the score; default: what EDGESTYLE_DATA names")
    parser.add_argument("--photos", type=int, default=8, metavar="N", help="for the score; default: 8")
    args = parser.parse_args(argv)
    findings, score = Findings(_EFFORT, progress=_progress), list[tuple[str, str, Score]]()
    try:
        ours, theirs = contend(args.peers, args.build, findings)
        try:
            with _progress("scoring"):
                score += scored(ours, theirs, args.data, args.photos)
        except EdgestyleError as error:
            findings.notes.append(f"The score was not taken: {error}")
        text = page(findings.report(), collect.drifts(ours), score, args.photos)
        write_text(args.out, text.replace(f"{args.peers}/", ""))
    except EdgestyleError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


@contextmanager
def _progress(text: str) -> Iterator[None]:
    print(text, file=sys.stderr, flush=True)  # noqa: T201
    yield


if __name__ == "__main__":
    from edgestyle.latency import peers  # by its name, under which the timing processes find `Magenta`

    sys.exit(peers.main())
