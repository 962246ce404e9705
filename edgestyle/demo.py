"""What a demo app looks like to the rest, and the exported files that go into it.

A demo is one file in `demo_apps/` that ends in `DEMO = Demo(...)` and is named once, as an entry point in
pyproject.toml. It puts exported files and their manifests into an app; `gather` gets them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from edgestyle import artifacts, checkpoint, exporting, parts, registry, runner
from edgestyle.checkpoint import Checkpoint
from edgestyle.errors import CheckError, ConfigError, MissingExtraError, UsageError
from edgestyle.styling import Styling
from edgestyle.target import Size, Target

Write = Callable[[Path, Sequence[Path]], None]
"""Writes the whole app into an empty folder, with exported files; each has its manifest beside it, and belongs in."""
Serve = Callable[[Path, bool, int], AbstractContextManager[str]]
"""Serves the app in a folder, to the local network too if the second argument is true, on a port (any free one if 0).
Within, it can be opened at the URL that it yields."""
Progress = Callable[[str], AbstractContextManager[None]]
"""Says what is being done while it is."""


@dataclass(frozen=True)
class Demo:
    """An app for a platform."""

    name: str
    """As on the command line: "web"."""
    title: str
    targets: tuple[str, ...]
    """Whose files it runs, by name."""
    sizes: tuple[Size, ...]
    """Of the files that are exported for it unless others are asked for."""
    write: Write
    next_steps: Callable[[Path], Sequence[str]]
    """What to do with the folder that was written, a line each."""
    any_painting: bool = False
    """Whether it runs a style encoder and a transformer; one that does not is given filters of one painting each."""
    serve: Serve | None = None
    """Where the app can be tried at once."""


def gather(
    demo: Demo,
    models: Sequence[str],
    sizes: Sequence[Size],
    scheme: str | None,
    exported: Path,
    progress: Progress,
    note: Callable[[str], None],
    paintings: Sequence[Path] = (),
) -> list[Path]:
    """The exported files for an app, each with its manifest beside it.

    Args:
        demo: The app.
        models: Networks of the zoo, checkpoint folders, and exported files, which are taken as they are.
        sizes: Of what has to be exported.
        scheme: Number format of what has to be exported; the default of each target if None.
        exported: Folder of exported files: those that are there, of the same weights, are not exported again.
        progress: Told of each export.
        note: Told of each target whose file could not be made; the app does without.
        paintings: To be folded into the network that paints by any, each a filter of its own.

    Raises:
        UsageError: A model is not what the app runs, or not at a size or in a scheme that is asked for; or it needs
            paintings, or takes none.
        CheckError: No file could be made.
        MissingExtraError: No file could be made, for want of a package.
    """
    names = [path.stem for path in paintings]
    if len(set(names)) < len(names):
        raise UsageError(f"filters have the names of their paintings; {' and '.join(names)} are not different")
    networks = {model: checkpoint.find(model) for model in models if Path(model).suffix not in runner.suffixes()}
    if paintings and all(network.config.family != "adain" for network in networks.values()):
        raise UsageError(f"--style is for networks that paint by any painting, and {', '.join(models)} is none")
    found: dict[str, Path] = {}
    for model in models:
        if model in networks:
            made = _parts(demo, networks[model], paintings)
            files = list(_made(demo, networks[model], made, sizes, scheme, exported, progress, note))
        else:
            files = [_as_it_is(demo, Path(model))]
        for file in files:
            if found.setdefault(file.name, file).resolve() != file.resolve():
                raise UsageError(f"{found[file.name]} and {file} have one name; give one of them")
    return list(found.values())


def _as_it_is(demo: Demo, file: Path) -> Path:
    """A file that somebody has exported."""
    (path,) = artifacts.find([file])
    manifest = artifacts.examine(path)
    if manifest is None:
        raise ConfigError(f"{path} has no manifest beside it, and the app has to read one; give a file of ours")
    if manifest.contract.target not in demo.targets:
        raise UsageError(f"{path} is for {manifest.contract.target}; {demo.title} runs {' and '.join(demo.targets)}")
    return path


def _parts(demo: Demo, found: Checkpoint, paintings: Sequence[Path]) -> Callable[[Target], list[parts.Part]]:
    """What of a network becomes files for a target.

    Raises:
        UsageError: It needs paintings for this app.
    """
    if found.config.family != "adain":
        return lambda target: parts.each(found, target)
    if demo.any_painting and not paintings:
        return lambda target: parts.of(found, target)
    if not paintings:
        raise UsageError(
            f"{demo.title} runs filters of one painting each, and {found.name} paints by any; "
            "give --style PAINTING, once for each filter"
        )
    folded = [parts.painting(found, Styling((path,))) for path in paintings]
    return lambda target: [part for style, code in folded for part in parts.of(found, target, style, code)]


def _made(
    demo: Demo,
    found: Checkpoint,
    made: Callable[[Target], list[parts.Part]],
    sizes: Sequence[Size],
    scheme: str | None,
    exported: Path,
    progress: Progress,
    note: Callable[[str], None],
) -> Iterator[Path]:
    """A network's file for each target and size, exported where it has not been."""
    targets: list[Target] = [registry.load(registry.TARGETS, name) for name in demo.targets]
    jobs = [(target, size) for target in targets for size in sizes if size != "dynamic" or target.dynamic]
    if not jobs:
        raise UsageError(f"{demo.title} runs files of a fixed size; give --size 512, or leave it out")
    for target, size in jobs:
        exporting.check_request(target, size, scheme)
    files = [
        (target, size, part)
        for target in targets
        for part in made(target)
        for size in dict.fromkeys(part.size(size) for wanted, size in jobs if wanted is target)
    ]
    failures: list[CheckError | MissingExtraError] = []
    for target, size, part in files:
        try:
            with progress(f"{part.name} for {target.title}, size {exporting.size_text(size)}"):
                path = exporting.export_unless_there(found, target, size, exported, scheme, part)
        except (CheckError, MissingExtraError) as error:
            failures.append(error)
            note(f"without {target.title}: {error}")
        else:
            yield path
    if len(failures) == len(files):
        raise failures[0]
