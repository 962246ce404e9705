"""Make the table of observers in docs/quantization.md: how each of them leaves the picture of the int8 ONNX file.

    python docs/make_ranges.py MODEL... [--size 512] [--calibration FOLDER] [--photos FOLDER]

Without folders, ranges are found on the default calibration photos and judged on the photos of the export's check.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import torch

from edgestyle import checkpoint, exporting, images, registry
from edgestyle.cli import output
from edgestyle.drift import Drift, measure, worst
from edgestyle.feedforward import FeedForward
from edgestyle.quantization import photos
from edgestyle.quantization.calibration import calibrate
from edgestyle.quantization.observers import OBSERVERS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="+")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--calibration", type=Path)
    parser.add_argument("--photos", type=Path)
    args = parser.parse_args()
    size = (args.size, args.size)
    seen = photos.load(args.calibration, size)
    held_out = photos.load(args.photos, size) if args.photos else samples(size)
    output.say("| network | observer | PSNR, worst | PSNR, mean | SSIM, worst |\n| --- | --- | ---: | ---: | ---: |")
    for model in args.model:
        for observer, drifts in compare(checkpoint.find(model), size, seen, held_out).items():
            mean, least = sum(d.psnr_db for d in drifts) / len(drifts), worst(drifts)
            output.say(f"| {model} | {observer} | {least.psnr_db:.1f} dB | {mean:.1f} dB | {least.ssim:.3f} |")


def samples(size: tuple[int, int]) -> list[images.Image]:
    """The photos of the export's check, as an app gives them."""
    cropped = [images.centre_crop(photo, size) for photo in images.sample_photos().values()]
    return [images.from_uint8(images.to_uint8(photo)) for photo in cropped]


def compare(
    found: checkpoint.Checkpoint, size: tuple[int, int], seen: list[images.Image], held_out: list[images.Image]
) -> dict[str, list[Drift]]:
    """The drift of each held-out photo, by observer."""
    net, target = found.network(), registry.load(registry.TARGETS, "onnx")
    quantize = registry.load(registry.SCHEMES, "int8").calibrated["onnx"]
    runner = registry.load(registry.RUNNERS, "onnxruntime-cpu")
    with torch.inference_mode():
        expected = [net(torch.from_numpy(photo)).numpy() for photo in held_out]
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        floats, path = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        target.write(net, exporting.contract_for(found, target, "int8", size, FeedForward.stride), floats)
        for observer in OBSERVERS:
            shutil.copyfile(floats, path)
            quantize(path, calibrate(net, seen, observer))
            session = runner.open(path)
            result[observer] = [measure(session.run(photo), e) for photo, e in zip(held_out, expected, strict=True)]
    return result


if __name__ == "__main__":
    main()
