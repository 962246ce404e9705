"""The two files of a network for any painting, for the tests of all who run them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgestyle import artifacts, exporting, parts, registry
from edgestyle.checkpoint import Checkpoint
from edgestyle.drift import measure
from edgestyle.manifest import read_manifest
from edgestyle.runner import CodeSession, Session
from edgestyle.target import Target

SIZE = (64, 96)


def both_files(network: Checkpoint, target: Target, folder: Path) -> Path:
    """Export the two files into `folder`."""
    for part in parts.of(network, target):
        exporting.export(network, target, SIZE, folder, part=part)
    return folder


def named(build: Path, role: str) -> Path:
    found = artifacts.find([build])
    return next(path for path in found if read_manifest(path).contract.role == role)


def run_as(build: Path, delegate: str, reference: str, least_db: float) -> list[Session]:
    """Run both files on a delegate and on its CPU sibling, and hold one against the other; the delegate's sessions."""
    runner, cpu = (registry.load(registry.RUNNERS, name) for name in (delegate, reference))
    encoder, encoder_on_cpu = (each.open(named(build, "encoder")) for each in (runner, cpu))
    transformer, on_cpu = (each.open(named(build, "transformer")) for each in (runner, cpu))
    noise = np.random.default_rng(0)
    painting = noise.random((1, 3, *encoder.size), np.float32)
    photos = noise.random((2, 3, *transformer.size), np.float32)

    code = encoder.run(painting)
    assert code.shape == (1, encoder.contract.code.length)
    np.testing.assert_allclose(code, encoder_on_cpu.run(painting), atol=1e-5)

    by_example = transformer.run(photos)
    assert measure(by_example, on_cpu.run(photos)).psnr_db >= least_db
    assert isinstance(transformer, CodeSession)
    by_another = transformer.by(-code).run(photos)  # the encoder's are all much alike, as it has learned nothing
    assert measure(by_another, on_cpu.by(-code).run(photos)).psnr_db >= least_db
    assert measure(by_another, by_example).psnr_db < 40  # so the code matters
    np.testing.assert_array_equal(transformer.run(photos), by_example)
    return [encoder, transformer]
