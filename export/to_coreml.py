"""Core ML: the format of Apple's devices, on their CPU, GPU and Neural Engine.

The file is what an iOS app wants: a photo's CVPixelBuffer goes in and a CVPixelBuffer comes out, no scaling, no arrays.
"""

from __future__ import annotations

import copy
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestyle import coreml_package
from edgestyle.errors import UsageError
from edgestyle.manifest import CODE, METADATA_KEY, Contract, TensorSpec
from edgestyle.quiet import quiet
from edgestyle.runner import installed
from edgestyle.target import Size, Target

if TYPE_CHECKING:
    from torch import nn


def write(net: nn.Module, contract: Contract, path: Path) -> None:
    """Write `net` as an ML Program for iOS 16 and macOS 13, or newer.

    iOS 16 is the last of the iPhone 8 and X, and everything that the network needs is there; iOS 17 would add nothing
    but 8-bit activations. Nothing is loaded or compiled, so any system will do.

    Args:
        net: Network in deploy form.
        contract: Says the size, the scheme (weights and arithmetic are fp32 with "fp32", else fp16) and the names of
            input and output; stands as JSON in the package's metadata.
        path: The `.mlpackage` folder to write.

    Raises:
        MissingExtraError: coremltools is not installed.
        UsageError: The contract asks for a free size.
    """
    import torch

    if contract.size == "dynamic":
        raise UsageError("Core ML files have a fixed size; give a size, once for each")
    ct = coreml_package.import_coremltools()
    example = torch.zeros(1, 3, *contract.size)
    code = [torch.zeros(1, contract.code.length)] if contract.code and contract.role == "transformer" else []
    if contract.role == "encoder":
        output = ct.TensorType(contract.output.name)
    else:
        output = ct.ImageType(contract.output.name, color_layout=ct.colorlayout.RGB)
    precision = ct.precision.FLOAT32 if contract.scheme == "fp32" else ct.precision.FLOAT16
    with quiet():
        # torch.export rather than a trace: faster, a third of the ops to convert, the same ML Program in the end
        program = torch.export.export(_with_eight_bit_ends(net), (example, *code)).run_decompositions({})
        model = ct.convert(
            program,
            inputs=[
                ct.ImageType(contract.input.name, example.shape, color_layout=ct.colorlayout.RGB),
                *(ct.TensorType(CODE, each.shape) for each in code),
            ],
            outputs=[output],
            minimum_deployment_target=ct.target.iOS16,
            compute_precision=precision,
            skip_model_load=True,
        )
    spec = model.get_spec()
    _describe(spec, contract)
    coreml_package.write(path, spec, Path(model.weights_dir))


def _with_eight_bit_ends(net: nn.Module) -> nn.Module:
    """`net` from [0, 255], the range of Core ML's images, and, where it paints, to it.

    Core ML's images can carry a scale of their own, but coremltools makes it an op in fp32 before everything else, off
    the Neural Engine. So the scale is an op like others, by 1/256, which leaves all 8 bits of a pixel exact in fp16, as
    1/255 does not; what sees the photo first makes up for the difference (`rescale_photo`).
    """
    import torch

    net = copy.deepcopy(net)
    for module in net.modules():
        rescale: Any = getattr(module, "rescale_photo", None)
        if rescale is not None:
            rescale(255 / 256)

    class EightBitEnds(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, image: torch.Tensor, *code: torch.Tensor) -> torch.Tensor:
            made: torch.Tensor = self.net(image * (1 / 256), *code)
            return made * 255 if made.ndim == 4 else made  # a style encoder makes a code

    return EightBitEnds().eval()


def _describe(spec: Any, contract: Contract) -> None:
    """Say in the package what it is: Xcode shows this to whoever opens it."""
    about = spec.description
    about.metadata.shortDescription = contract.description
    about.metadata.author = "edgestyle"
    about.metadata.license = contract.licence
    about.metadata.versionString = version("edgestyle")
    about.metadata.userDefined[METADATA_KEY] = contract.model_dump_json()
    about.metadata.userDefined.pop("com.github.apple.coremltools.conversion_date", None)  # same network, same bytes
    height, width = contract.input.shape[1:3]
    about.input[0].shortDescription = f"Photo, {width}x{height} pixels, sRGB."
    about.output[0].shortDescription = f"Its painting, {width}x{height} pixels, sRGB."
    if contract.role == "encoder":
        about.input[0].shortDescription = f"Painting, {width}x{height} pixels, sRGB."
        about.output[0].shortDescription = "Its style code."
    elif contract.role == "transformer":
        learned = contract.code is not None and contract.code.order == "as styles"
        code = "Style code, as the encoder gives it; zeros give the photo back."
        about.input[1].shortDescription = "A weight for each painting; they add up to 1." if learned else code


def _spec(name: str, size: Size) -> TensorSpec:
    """What an app sees: an image, its values of 8 bits."""
    h, w = ("height", "width") if size == "dynamic" else size
    return TensorSpec(
        name=name, kind="image", shape=(1, h, w, 3), layout="NHWC", dtype="uint8", range=(0, 255), channels="RGB"
    )


TARGET = Target(
    name="coreml",
    title="Core ML",
    suffix=".mlpackage",
    spec=_spec,
    runner="coreml-evaluator",
    native_runner="coreml-ane",
    native=("fp16", "fp32"),
    default_scheme="fp16",
    dynamic=False,
    probe=partial(installed, "coreml", "coremltools"),
    tools=("coremltools",),
    write=write,
)
