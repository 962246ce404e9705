"""Manifests survive a round trip, and what is wrong in one is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edgestyle.drift import Drift
from edgestyle.errors import ConfigError
from edgestyle.manifest import (
    CheckResult,
    Contract,
    Golden,
    GoldenFile,
    Manifest,
    Style,
    TensorSpec,
    manifest_path,
    parse_contract,
    read_manifest,
    to_json,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SIDES = st.integers(8, 4096)
DECIBELS = st.floats(0, 200)
DRIFTS = st.none() | st.builds(Drift, DECIBELS, st.floats(0, 1), st.floats(0, 1), st.floats(-1, 1))
HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)
UNHURRIED = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def specs() -> st.SearchStrategy[TensorSpec]:
    return st.builds(
        TensorSpec,
        name=TEXT,
        shape=st.one_of(st.tuples(st.just(1), st.just(3), SIDES, SIDES), st.just((1, 3, "height", "width"))),
        range=st.tuples(st.floats(-255, 0), st.floats(1, 255)),
        channels=st.just("RGB"),
    )


CONTRACTS = st.builds(
    Contract,
    model=TEXT,
    family=TEXT,
    target=TEXT,
    scheme=TEXT,
    styles=st.lists(st.builds(Style, name=TEXT, title=TEXT, artist=TEXT, year=TEXT), max_size=3).map(tuple),
    input=specs(),
    output=specs(),
    size=st.one_of(st.tuples(SIDES, SIDES), st.just("dynamic")),
    size_multiple=st.integers(1, 64),
    resize=TEXT,
    checkpoint_sha256=HASHES,
    licence=TEXT,
    tools=st.dictionaries(TEXT, TEXT, max_size=3),
)
GOLDEN_FILES = ("photo", "tensor", "input", "expected", "expected_tensor")
MANIFESTS = st.builds(
    Manifest,
    contract=CONTRACTS,
    file=TEXT,
    sha256=HASHES,
    bytes=st.integers(1, 2**40),
    golden=st.builds(
        Golden, **dict.fromkeys(GOLDEN_FILES, st.builds(GoldenFile, name=TEXT, sha256=HASHES)), min_psnr_db=DECIBELS
    ),
    checks=st.lists(
        st.builds(CheckResult, name=TEXT, reason=TEXT, delegate=TEXT, min_psnr_db=DECIBELS, drift=DRIFTS),
        max_size=3,
    ).map(tuple),
)


@UNHURRIED
@given(MANIFESTS)
def test_a_manifest_survives_its_json(manifest: Manifest) -> None:
    assert Manifest.model_validate_json(to_json(manifest)) == manifest


@UNHURRIED
@given(CONTRACTS)
def test_a_contract_survives_its_json(contract: Contract) -> None:
    assert parse_contract(to_json(contract), Path("a.onnx")) == contract
    assert parse_contract(contract.model_dump_json(), Path("a.onnx")) == contract


@pytest.fixture
def manifest() -> Manifest:
    image = TensorSpec(name="image", shape=(1, 3, 64, 64), layout="NCHW", dtype="float32", range=(0, 1), channels="RGB")
    contract = Contract(
        model="tiny",
        family="feedforward",
        target="onnx",
        scheme="fp32",
        styles=(Style(name="great_wave", title="The Great Wave"),),
        input=image,
        output=image,
        size=(64, 64),
        size_multiple=8,
        resize="fit",
        checkpoint_sha256="0" * 64,
        licence="Apache-2.0",
        tools={"torch": "2"},
    )
    files = {part: GoldenFile(name=part, sha256="0" * 64) for part in GOLDEN_FILES}
    golden = Golden(size=(64, 64), window=(0, 0, 64, 64), max_error=0.01, min_psnr_db=50, **files)
    return Manifest(contract=contract, file="tiny.onnx", sha256="0" * 64, bytes=1, golden=golden, checks=())


def test_it_stands_beside_the_file_and_is_read_from_there(manifest: Manifest, tmp_path: Path) -> None:
    artifact = tmp_path / "tiny.onnx"
    assert read_manifest(artifact) is None
    manifest_path(artifact).write_text(to_json(manifest), encoding="utf-8")
    assert (tmp_path / "tiny.onnx.json").is_file()
    assert read_manifest(artifact) == manifest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(surprise=1), "surprise: Extra inputs are not permitted"),
        (lambda data: data["contract"].update(surprise=1), "contract.surprise: Extra inputs are not permitted"),
        (lambda data: data["contract"]["input"].pop("layout"), "contract.input.layout: Field required"),
        (lambda data: data["contract"].update(schema_version=2), "contract.schema_version: Input should be 1"),
        (lambda data: data.update(bytes=0), "bytes: Input should be greater than 0"),
    ],
)
def test_what_is_wrong_in_one_is_named(manifest: Manifest, tmp_path: Path, change: Any, message: str) -> None:
    data = json.loads(to_json(manifest))
    change(data)
    (tmp_path / "a.onnx.json").write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=f"a.onnx.json is not a manifest: {message}"):
        read_manifest(tmp_path / "a.onnx")


@pytest.mark.parametrize("text", ["", "{}", "null", "no json"])
def test_metadata_that_is_no_contract_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^the metadata of a.onnx is malformed: "):
        parse_contract(text, Path("a.onnx"))


def test_it_cannot_be_changed(manifest: Manifest) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        manifest.bytes = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("statuses", "verified"),
    [
        ((), "could not run"),
        (("could not run",), "could not run"),
        (("passed", "could not run"), "passed"),
        (("passed", "failed", "could not run"), "failed"),
    ],
)
def test_one_failed_check_fails_the_whole(manifest: Manifest, statuses: tuple[str, ...], verified: str) -> None:
    checks = tuple(CheckResult(name="drift", status=s, delegate="cpu", min_psnr_db=70) for s in statuses)  # type: ignore[arg-type]
    assert manifest.model_copy(update={"checks": checks}).verified == verified


def test_the_example_in_the_documentation_is_a_manifest() -> None:
    text = (Path(__file__).parents[1] / "docs" / "manifest.md").read_text(encoding="utf-8")
    example = Manifest.model_validate_json(text.split("```json\n")[1].split("```")[0])
    assert example.verified == "passed"
    described = {
        key for line in text.splitlines() if line.startswith("| `") for key in line.split("|")[1].split("`")[1::2]
    }
    for model in (Contract, TensorSpec, CheckResult):
        assert set(model.model_fields) <= described
