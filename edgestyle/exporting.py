"""The main job: a checkpoint becomes a verified file.

deploy form -> scaled to fit into fp16 -> target's writer -> scheme's rewrite -> the written file opened on a runner ->
drift -> gate -> manifest.
A file that fails its check never appears under its final name.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from edgestyle import gates, golden, images, parts, registry
from edgestyle.checkpoint import Checkpoint
from edgestyle.drift import measure, worst
from edgestyle.errors import CheckError, UnknownNameError, UsageError
from edgestyle.files import publish, sha256, size_in_bytes, staging
from edgestyle.manifest import CheckResult, Contract, Golden, Manifest, manifest_path, read_manifest, to_json
from edgestyle.runner import Runner
from edgestyle.target import Rewrite, Scheme, Size, Target

if TYPE_CHECKING:
    from torch import nn

    from edgestyle.parts import Part
    from edgestyle.quantization.calibration import Calibration

IO: TypeAlias = Literal["float32", "uint8"]
"""What pictures are made of: floats from 0 to 1, or bytes. Core ML's images are bytes in any case."""
SMALLEST, LARGEST = 64, 4096
"""Sides that can be exported, in pixels."""
DYNAMIC_SIZES = ((256, 256), (320, 448))
"""Sizes at which a file of free size is verified."""


@dataclass(frozen=True)
class Artifact:
    """An exported file and its manifest."""

    path: Path
    manifest: Manifest
    seconds: float
    """Time that the export took, verification included."""


def export(
    checkpoint: Checkpoint,
    target: Target,
    size: Size,
    out: Path,
    scheme: str | None = None,
    overrides: gates.Overrides = gates.NO_OVERRIDES,
    calibration: Calibration | None = None,
    io: IO = "float32",
    allow_drift: bool = False,
    part: Part | None = None,
) -> Artifact:
    """Export one network to one target, verify the written file, and put it with its manifest into `out`.

    Args:
        checkpoint: What to export.
        target: The format.
        size: Height and width, multiples of the network's stride, or "dynamic".
        out: A folder, made if need be.
        scheme: Number format; the target's own default if None.
        overrides: Gates that differ: `gate` of `edgestyle.settings.Settings`.
        calibration: Ranges of the network's values at this size; by default those on photos of every installation.
        io: What the pictures at both ends are made of.
        allow_drift: Keep a file that drifts beyond its gate, and say so in its manifest.
        part: Which part of the checkpoint (`parts.of`); by default the first, which is the whole of most.

    Raises:
        UsageError: The target does not serve this size, scheme or io.
        CheckError: The written file fails its check. Nothing new is left in `out`, nothing old is lost.
        MissingExtraError: The target's converter or runtime is not installed.
    """
    began = time.monotonic()
    scheme = scheme or target.default_scheme
    found = _scheme(target, scheme)
    part = part or parts.of(checkpoint, target)[0]
    size = part.size(size)
    check_size(target, size, part.stride)
    to_bytes = _to_bytes(target, scheme, io)
    contract = contract_for(checkpoint, target, scheme, size, part.stride, io, part)
    name = artifact_name(part.name, target, size, scheme, io)
    references = list(_references(part, size))  # before the writer gets the network into its hands
    ranges = None
    if found and target.name in found.calibrated:
        _refuse_pairs(part, scheme)
        ranges = calibration or calibrate(part, size)
    with staging(out) as folder:
        path = folder / name
        target.write(_inside_fp16(part, size), contract, path)
        if found:
            found.calibrated[target.name](path, ranges) if ranges else found.rewrites[target.name](path)
        if to_bytes:
            to_bytes(path)
        checks = tuple(_check(runner, path, part, references, scheme, overrides) for runner in _verifiers(target))
        _raise_if_failed(name, checks, allow_drift)
        bundle = _write_golden(folder, part, size, scheme)
        manifest = _write_manifest(path, contract, bundle, checks, ranges.float_layers if ranges else ())
        for made in (*(file.name for file in bundle.files), name, manifest_path(path).name):
            publish(folder / made, out / made)
    return Artifact(out / name, manifest, time.monotonic() - began)


def export_unless_there(
    checkpoint: Checkpoint, target: Target, size: Size, out: Path, scheme: str | None = None, part: Part | None = None
) -> Path:
    """As `export`, but a file in `out` that the same weights and the same versions have made stays as it is.

    Raises:
        EdgestyleError: As `export`.
    """
    scheme = scheme or target.default_scheme
    part = part or parts.of(checkpoint, target)[0]
    path = out / artifact_name(part.name, target, part.size(size), scheme)
    there = read_manifest(path) if path.exists() else None
    new = contract_for(checkpoint, target, scheme, part.size(size), part.stride, part=part)
    return path if there and there.contract == new else export(checkpoint, target, size, out, scheme, part=part).path


def artifact_name(model: str, target: Target, size: Size, scheme: str, io: IO = "float32") -> str:
    """`great_wave-512.onnx`; a scheme other than the target's default is named, so are bytes and sides that differ."""
    scheme_part = "" if scheme == target.default_scheme else f"-{scheme}"
    io_part = "-uint8" if _to_bytes(target, scheme, io) else ""
    return f"{model}-{size_text(size)}{scheme_part}{io_part}{target.suffix}"


def size_text(size: Size) -> str:
    """A size as people write it: "512", "640x384" (width x height) or "dynamic"."""
    if size == "dynamic":
        return size
    height, width = size
    return str(width) if width == height else f"{width}x{height}"


def schemes(target: Target) -> list[str]:
    """The schemes that serve a target, its default first."""
    found: list[Scheme] = registry.load_all(registry.SCHEMES)
    served = [*target.native, *(s.name for s in found if target.name in s.targets)]
    return sorted(served, key=lambda scheme: scheme != target.default_scheme)


def check_request(target: Target, size: Size, scheme: str | None, io: IO = "float32") -> None:
    """Refuse what `export` would refuse, before anything is loaded.

    Raises:
        UsageError: The target does not serve this size, scheme or io.
        UnknownNameError: There is no such scheme.
    """
    from edgestyle.learned import Learned

    check_size(target, size, Learned.stride)
    _scheme(target, scheme or target.default_scheme)
    _to_bytes(target, scheme or target.default_scheme, io)


def check_size(target: Target, size: Size, stride: int) -> None:
    """Refuse a size that the target or the network cannot serve.

    Raises:
        UsageError: With the reason and, where there is one, the nearest size that can be served.
    """
    if size == "dynamic":
        if not target.dynamic:
            raise UsageError(
                f"{target.title} files have a fixed size: its upsampling bakes in the size at export and would be "
                "silently wrong at another; give --size, once for each size"
            )
        return
    for side in size:
        if not SMALLEST <= side <= LARGEST:
            raise UsageError(f"--size {side} is out of range; each side must be from {SMALLEST} to {LARGEST} pixels")
        if side % stride:
            low = side // stride * stride
            raise UsageError(f"--size {side} is not a multiple of {stride}; the nearest are {low} and {low + stride}")


def needs_calibration(target: Target, scheme: str | None) -> bool:
    """Whether a scheme has to know the ranges of the network's values."""
    found = _scheme(target, scheme or target.default_scheme)
    return found is not None and target.name in found.calibrated


def _refuse_pairs(part: Part, scheme: str) -> None:
    """Refuse to find ranges of a network that takes or gives a style code."""
    if part.role != "filter":
        several = part.code is not None and part.code.order == "as styles"
        how = f"--style-weights {part.styles[0].name}" if several else "--style PAINTING"
        raise UsageError(f"scheme '{scheme}' is for networks of one picture; fold one in by {how}, or use int8-weights")


def _inside_fp16(part: Part, asked: Size) -> nn.Module:
    """The part's network, its norms' sums inside fp16 at a size."""
    from edgestyle import adain, fp16_safety

    size = fp16_safety.UP_TO if asked == "dynamic" else asked
    if part.role != "transformer" or part.code is None:
        return fp16_safety.rescale(part.net, size)
    return fp16_safety.rescale(adain.AtCode(part.net, part.code.example), size).net


def calibrate(part: Part, size: Size, folder: Path | None = None) -> Calibration:
    """The ranges of a network's values, for any target at one size.

    Args:
        part: The network, as it becomes a file.
        size: Of the file to be made.
        folder: Calibration photos; by default those of `edgestyle.quantization.photos`.

    Raises:
        UsageError: There are no photos there, or they show nothing.
    """
    from edgestyle.quantization import calibration, photos

    pictures = photos.load(folder, DYNAMIC_SIZES[-1] if size == "dynamic" else size)
    return calibration.calibrate(part.alone, pictures)


def _scheme(target: Target, scheme: str) -> Scheme | None:
    """The scheme of that name; None where the target's own writer serves it."""
    if scheme in target.native:
        return None
    if scheme not in registry.names(registry.SCHEMES):
        raise UnknownNameError("scheme", scheme, schemes(target))
    found: Scheme = registry.load(registry.SCHEMES, scheme)
    if target.name not in found.targets:
        raise UsageError(f"{target.title} does not serve scheme '{scheme}'; it serves {', '.join(schemes(target))}")
    return found


def _to_bytes(target: Target, scheme: str, io: IO) -> Rewrite | None:
    """How a file is made to take and give bytes; None where it need not be."""
    if io == "float32" or target.spec("image", "dynamic").dtype == io:
        return None
    found = _scheme(target, scheme)
    if found is None or target.name not in found.bytes:
        able = [s.name for s in registry.load_all(registry.SCHEMES) if target.name in s.bytes]
        raise UsageError(f"{target.title} files of scheme '{scheme}' take floats; uint8 goes with {', '.join(able)}")
    return found.bytes[target.name]


def contract_for(
    checkpoint: Checkpoint,
    target: Target,
    scheme: str,
    size: Size,
    stride: int,
    io: IO = "float32",
    part: Part | None = None,
) -> Contract:
    """What an app has to know about a file that is to be made: of a part of a checkpoint, or of the whole."""
    config = checkpoint.config
    output = part.output(target, size) if part else target.spec("stylized", size)
    change = {"dtype": "uint8", "range": (0, 255)} if _to_bytes(target, scheme, io) else {}
    return Contract(
        model=part.name if part else config.name,
        family=config.family,
        role=part.role if part else "filter",
        code=part.code if part else None,
        target=target.name,
        scheme=scheme,
        styles=part.styles if part else config.styles,
        input=target.spec("image", size).model_copy(update=change),
        output=output.model_copy(update=change),
        size=size,
        size_multiple=stride,
        resize=images.PAD_RULE if size == "dynamic" else images.FIT_RULE,
        checkpoint_sha256=checkpoint.sha256(),
        licence=config.licence,
        tools=versions(("edgestyle", "torch", *target.tools)),
    )


def versions(distributions: tuple[str, ...]) -> dict[str, str]:
    """The version of each distribution that is installed."""
    found = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # its writer will say so, and how to add it
            continue
    return found


def check_photos(size: Size) -> list[images.Image]:
    """Real photos as an app gives them, at the sizes to be checked; ranges are found on others."""
    sizes = DYNAMIC_SIZES if size == "dynamic" else (size,)
    cropped = [images.centre_crop(photo, sides) for photo in images.sample_photos().values() for sides in sizes]
    return [images.from_uint8(images.to_uint8(photo)) for photo in cropped]  # an app has 8 bits


def _references(part: Part, size: Size) -> Iterator[tuple[images.Image, images.Image]]:
    """Each of these photos with the float network's picture of it."""
    for photo in check_photos(size):
        yield photo, part.made(photo)


def _verifiers(target: Target) -> Iterator[Runner]:
    for name in (target.runner, target.native_runner):
        if name:
            yield registry.load(registry.RUNNERS, name)


def _check(
    runner: Runner,
    path: Path,
    part: Part,
    references: list[tuple[images.Image, images.Image]],
    scheme: str,
    overrides: gates.Overrides,
) -> CheckResult:
    """Run the written file over the photos and hold the worst of them against the gate."""
    gate = gates.find(scheme, runner, overrides)
    result = partial(
        CheckResult,
        name="drift from the float network",
        delegate=runner.name,
        emulated=runner.emulated,
        min_psnr_db=gate.psnr_db,
    )
    availability = runner.probe()
    if availability.status == "cannot run":
        return result(status="could not run", reason=availability.reason)
    session = runner.open(path)
    try:
        drift = worst(measure(part.shown(session.run(photo)), expected) for photo, expected in references)
    except CheckError as error:
        return result(status="failed", reason=str(error))
    missed = gate.missed(drift.psnr_db, drift.ssim)
    return result(status="failed" if missed else "passed", reason=missed, drift=drift)


def _raise_if_failed(name: str, checks: tuple[CheckResult, ...], allow_drift: bool) -> None:
    """Refuse a file that failed a check; one that can be measured and drifts may be allowed."""
    for check in checks:
        if check.status == "failed" and not (allow_drift and check.drift):
            remark = "; the file was not kept" + ("; --allow-drift keeps it all the same" if check.drift else "")
            raise CheckError(f"{name} failed its check on {check.delegate}: {check.reason}{remark}")


def _write_manifest(
    path: Path, contract: Contract, bundle: Golden, checks: tuple[CheckResult, ...], float_layers: tuple[str, ...]
) -> Manifest:
    manifest = Manifest(
        contract=contract,
        file=path.name,
        sha256=sha256(path),
        bytes=size_in_bytes(path),
        golden=bundle,
        checks=checks,
        float_layers=float_layers,
        beyond_gate=any(check.status == "failed" for check in checks),
    )
    manifest_path(path).write_text(to_json(manifest), encoding="utf-8")
    return manifest


def _write_golden(folder: Path, part: Part, size: Size, scheme: str) -> Golden:
    """The golden bundle. It depends on the network and the size alone, so that targets share it."""
    fixed = None if size == "dynamic" else size
    prefix = f"{part.name}-{size_text(size)}-golden"
    return golden.write(folder, prefix, part.made, fixed, part.stride, gates.lowest_psnr_db(scheme))
