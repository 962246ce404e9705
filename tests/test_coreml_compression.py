"""Weights compressed by coremltools.optimize, and 8-bit activations: evaluated, against torch with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_networks import Johnson, convert, ct, saved
from torch import Tensor, nn

from edgestyle import coreml_package
from edgestyle.coreml_program import evaluate, load
from edgestyle.quiet import quiet

with quiet():
    import coremltools.optimize.coreml as cto


def whole(op: Any) -> Any:
    """A configuration for every op."""
    return cto.OptimizationConfig(global_config=op)


def quantized(**options: Any) -> Callable[[Any], Any]:
    config = whole(cto.OpLinearQuantizerConfig(weight_threshold=0, **{"mode": "linear", **options}))
    return lambda model: cto.linear_quantize_weights(model, config)


def palettized(**options: Any) -> Callable[[Any], Any]:
    config = whole(cto.OpPalettizerConfig(mode="uniform", weight_threshold=0, **options))
    return lambda model: cto.palettize_weights(model, config)


PRUNE = whole(cto.OpMagnitudePrunerConfig(target_sparsity=0.6, weight_threshold=0))


def pruned(model: Any) -> Any:
    return cto.prune_weights(model, PRUNE)


def pruned_and_palettized(model: Any) -> Any:
    config = whole(cto.OpPalettizerConfig(mode="uniform", nbits=4, weight_threshold=0))
    return cto.palettize_weights(pruned(model), config, joint_compression=True)


def pruned_and_quantized(model: Any) -> Any:
    config = whole(cto.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=0))
    return cto.linear_quantize_weights(pruned(model), config, joint_compression=True)


def palette_in_int8(model: Any) -> Any:
    config = whole(cto.OpLinearQuantizerConfig(mode="linear_symmetric", granularity="per_tensor", weight_threshold=0))
    return cto.linear_quantize_weights(palettized(nbits=6)(model), config, joint_compression=True)


IOS16, IOS18 = ct.target.iOS16, ct.target.iOS18


@pytest.fixture(scope="module")
def net() -> Johnson:
    return Johnson().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def models(net: Johnson) -> dict[Any, Any]:
    options = {"compute_precision": ct.precision.FLOAT32}
    arrays = [ct.TensorType("x", (1, 3, 64, 96))]
    return {ios: convert(net, arrays, minimum_deployment_target=ios, **options) for ios in (IOS16, IOS18)}


@pytest.mark.parametrize(
    ("ios", "compress", "ops"),
    [
        (IOS16, quantized(mode="linear_symmetric"), {"affine_dequantize"}),
        (IOS16, quantized(granularity="per_tensor", dtype="uint8"), {"affine_dequantize"}),
        (IOS18, quantized(dtype="int4", granularity="per_block", block_size=4), {"blockwise_shift_scale"}),
        (IOS16, palettized(nbits=8), {"lut_to_dense"}),
        (IOS16, palettized(nbits=6), {"lut_to_dense"}),
        (IOS18, palettized(nbits=4, granularity="per_grouped_channel", group_size=4), {"lut_to_dense"}),
        (IOS16, pruned, {"sparse_to_dense"}),
        (IOS18, pruned, {"sparse_to_dense"}),
        (IOS18, pruned_and_palettized, {"lut_to_sparse", "sparse_to_dense"}),
        (IOS18, pruned_and_quantized, {"sparse_blockwise_shift_scale", "sparse_to_dense"}),
        (IOS18, palette_in_int8, {"blockwise_shift_scale", "lut_to_dense"}),
    ],
    ids=[
        "int8", "uint8-tensor", "int4-blocks", "palette-8", "palette-6", "palette-4-groups",
        "pruned-16", "pruned-18", "pruned-palette", "pruned-int8", "palette-int8",
    ],
)  # fmt: skip
def test_compressed_weights_are_those_that_apple_expands(
    ios: Any, compress: Callable[[Any], Any], ops: set[str], models: dict[Any, Any], net: Johnson, tmp_path: Path
) -> None:
    with quiet():
        small = compress(models[ios])
        large = cto.decompress_weights(small)
    package = coreml_package.read(saved(small, tmp_path / "small.mlpackage"))
    (block,) = package.spec.mlProgram.functions["main"].block_specializations.values()
    used = {op.type.removeprefix("constexpr_") for op in block.operations if op.type.startswith("constexpr_")}
    assert used == ops
    x = torch.rand((1, 3, 64, 96), generator=torch.Generator().manual_seed(0)) * 255
    (actual,) = evaluate(load(package), {"x": x}).values()
    expected = with_weights_of(net, saved(large, tmp_path / "large.mlpackage"))(x)
    assert float((actual - expected).square().mean()) <= 1e-9 * 255**2, "under 90 dB"
    assert float((actual - net(x)).abs().mean()) > 0.02, "the weights were not compressed at all"


def with_weights_of(net: nn.Module, path: Path) -> Callable[[Tensor], Tensor]:
    """`net` with the plain weights of a package, whose convolutions stand in the same order."""
    program = load(coreml_package.read(path))
    convolutions = [op for op in program.operations if op.op_type in {"conv", "conv_transpose"}]
    layers = [name for name, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    weights = {
        f"{name}.weight": program.constants[op.inputs["weight"].name][1]
        for name, op in zip(layers, convolutions, strict=True)
    }
    return lambda x: torch.func.functional_call(net, weights, (x,), strict=False)


def test_eight_bit_activations_are_those_of_torch(tmp_path: Path) -> None:
    """Weights and activations in 8 bits by torch's PT2E, converted as they are."""
    with quiet():
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
        from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
            X86InductorQuantizer,
            get_default_x86_inductor_quantization_config,
        )

    torch.manual_seed(0)
    x = torch.rand(1, 3, 16, 24)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1)).eval()
    quantizer = X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())
    with quiet():
        prepared = prepare_pt2e(torch.export.export(net, (x,)).module(), quantizer)
        prepared(x)
        quantized = convert_pt2e(prepared)
        model = ct.convert(
            torch.export.export(quantized, (x,)).run_decompositions({}),
            inputs=[ct.TensorType("x", x.shape)],
            minimum_deployment_target=ct.target.iOS17,
            compute_precision=ct.precision.FLOAT32,
            skip_model_load=True,
        )
    program = load(coreml_package.read(saved(model, tmp_path / "w8a8.mlpackage")))
    assert {"quantize", "dequantize"} <= {op.op_type for op in program.operations}
    (actual,) = evaluate(program, {"x": x}).values()
    expected = quantized(x).detach()
    assert float((actual - expected).square().mean()) <= 1e-9 * float(expected.abs().max()) ** 2, "under 90 dB"
    assert float((actual - net(x).detach()).abs().max()) > 1e-4, "nothing was quantized"
