"""What an app has to know about an exported file, so that it need not guess.

`Contract` is written into the file itself (ONNX metadata, Core ML user metadata, TFLite metadata). `Manifest` is the
JSON beside the file: the contract, plus what can only be known once the file exists: its hash and its checks. The
schema is described in docs/manifest.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgestyle.drift import Drift
from edgestyle.errors import ConfigError

METADATA_KEY = "edgestyle"
"""Under this name the contract's JSON stands in the metadata of every exported file."""

CODE = "code"
"""What a style code is called in every file: the transformer's second input, the encoder's output."""

Layout = Literal["NCHW", "NHWC"]
"""Order of a picture tensor's dimensions: planes, or interleaved channels."""

Status = Literal["passed", "failed", "could not run"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TensorSpec(_Model):
    """One input or output."""

    name: str
    """Its name in the file (for TFLite: in the signature `serving_default`)."""
    kind: Literal["tensor", "image"] = "tensor"
    """An "image" is the platform's own (Core ML: a CVPixelBuffer of any 8-bit colour format, converted by the runtime);
    `shape`, `layout`, `dtype` and `range` then describe its pixels."""
    shape: tuple[int | str, ...]
    """Sizes in the order of `layout`; a free size is a name such as "height"."""
    layout: Layout | Literal["NC"]
    """"NC" of a style code: (1, length)."""
    dtype: Literal["float32", "float16", "uint8"]
    range: tuple[float, float]
    """Smallest and largest value, e.g. (0, 1)."""
    channels: Literal["RGB", "code"]


class Style(_Model):
    """One painting that a network has learned."""

    name: str
    """Short name, in the form of an identifier: "great_wave"."""
    title: str
    artist: str = ""
    year: str = ""


class StyleCode(_Model):
    """What a transformer takes beside the photo: a code that its style encoder gives, the same in the manifests of both
    files; or, of a network that has learned several paintings, one weight for each of them, which add up to 1.
    """

    length: int
    order: Literal["as encoded", "as styles"] = "as encoded"
    """Number i that the encoder gives is number i that the transformer takes; or number i belongs to style i."""
    range: tuple[float, float] = (-1, 1)
    """Of each number."""
    neutral: float | None = 0
    """A code of this number alone stands for the photo itself. So strength is a factor on a code, and a blend of
    several paintings a weighted mean of theirs. None where there is no such code."""
    encoder: str = ""
    """Name of the file that gives such codes; "" where none is needed."""
    example: tuple[float, ...]
    """The code by which the golden picture was painted."""


Role = Literal["filter", "encoder", "transformer"]
"""Of a file: photo to painting; painting to style code; photo and style code to painting."""


class Contract(_Model):
    """How to call an exported file. Written into the file itself."""

    schema_version: Literal[1] = 1
    model: str
    """Name of the network, as in the zoo."""
    family: str
    role: Role = "filter"
    code: StyleCode | None = None
    """Of a pair of encoder and transformer. Of a filter: the code that has been folded in."""
    target: str
    scheme: str
    styles: tuple[Style, ...]
    input: TensorSpec
    output: TensorSpec
    size: tuple[int, int] | Literal["dynamic"]
    """Height and width of input and output in pixels, or "dynamic" if any will do."""
    size_multiple: int
    """With a free size, height and width must be multiples of this."""
    resize: str
    """The rule by which a photo of another size is brought to `size`; see docs/manifest.md."""
    checkpoint_sha256: str
    """Hash of the weights that the file was made from."""
    licence: str
    tools: dict[str, str]
    """Versions of the packages that made the file."""

    @property
    def description(self) -> str:
        """What the file is, in a sentence for people."""
        if self.role == "encoder":
            return "Style encoder: turns a painting into the style code by which its transformer paints."
        paintings = ", ".join(f"{s.title}{f' ({s.artist})' if s.artist else ''}" for s in self.styles)
        paintings = paintings or "any painting, given as its style code"
        return f"Style filter: paints a photo in the style of {paintings}."


class CheckResult(_Model):
    """One check of the written file."""

    name: str
    status: Status
    reason: str = ""
    """Why it failed or could not run here."""
    delegate: str
    emulated: bool = False
    """True where the delegate stands in for hardware that is not here: judge its numerics, never its speed."""
    min_psnr_db: float
    """The gate."""
    drift: Drift | None = None
    """The worst over all photos; None where nothing could be measured."""


class GoldenFile(_Model):
    """A file of the golden bundle, in the artifact's folder."""

    name: str
    sha256: str


class Golden(_Model):
    """Files beside the artifact that prove an app's code: a photo, what must be made of it, and what must be painted.

    See `edgestyle.golden`. Tensors are float32, little-endian, (H, W, 3): row by row, RGB interleaved, no header.
    """

    size: tuple[int, int]
    """Height and width of all but the photo: the artifact's own where it has one."""
    photo: GoldenFile
    """JPEG of another size, stored turned, with its orientation in EXIF."""
    tensor: GoldenFile
    """The photo as the network takes it: decoded, turned, and brought to `size` by the contract's rule."""
    window: tuple[int, int, int, int]
    """Top, left, height and width of the photo in it."""
    max_error: float
    """What any value of an app's own tensor may be off by, of values in [0, 1]."""
    input: GoldenFile
    """`tensor` in 8 bits, as PNG."""
    expected: GoldenFile
    """The float network's picture of `input`, as PNG."""
    expected_tensor: GoldenFile
    """The same before it was rounded to 8 bits."""
    min_psnr_db: float
    """The artifact's picture of `input`, in 8 bits, must be at least this near to `expected`."""

    @property
    def files(self) -> tuple[GoldenFile, ...]:
        """All of them."""
        return (self.photo, self.tensor, self.input, self.expected, self.expected_tensor)


class Manifest(_Model):
    """The JSON beside an exported file."""

    contract: Contract
    file: str
    """Name of the exported file, in the same folder."""
    sha256: str
    bytes: int = Field(gt=0)
    golden: Golden
    checks: tuple[CheckResult, ...]
    float_layers: tuple[str, ...] = ()
    """Layers of a file of integers that stay in floats; "" is what the network itself computes between its layers."""
    beyond_gate: bool = False
    """The file drifts beyond its gate, and was kept because somebody asked for it (`export --allow-drift`)."""

    @property
    def verified(self) -> Status:
        """What the checks say together: "failed" if any failed, else "passed" if any passed, else "could not run"."""
        statuses = {check.status for check in self.checks}
        if "failed" in statuses:
            return "failed"
        return "passed" if "passed" in statuses else "could not run"


def manifest_path(artifact: Path) -> Path:
    """Where the manifest of an exported file is: its name with `.json` added."""
    return artifact.with_name(artifact.name + ".json")


def read_manifest(artifact: Path) -> Manifest | None:
    """The manifest beside `artifact`, or None where there is none (somebody else's file).

    Raises:
        ConfigError: It is there and malformed.
    """
    path = manifest_path(artifact)
    if not path.is_file():
        return None
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ConfigError(f"{path} is not a manifest: {first_error(error)}") from error


def parse_contract(text: str, source: Path) -> Contract:
    """The contract from a file's own metadata.

    Raises:
        ConfigError: It is malformed.
    """
    try:
        return Contract.model_validate_json(text)
    except ValidationError as error:
        raise ConfigError(f"the metadata of {source} is malformed: {first_error(error)}") from error


def first_error(error: ValidationError) -> str:
    """The first thing wrong, in one line: which key, and why."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"


def to_json(model: BaseModel) -> str:
    """JSON text of a manifest or contract, indented, keys in the order of the schema."""
    return json.dumps(model.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
