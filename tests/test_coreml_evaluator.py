"""The Core ML evaluator, op by op against torch: every case is a program that is saved, loaded back and evaluated."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

pytest.importorskip("coremltools")

from edgestyle import coreml_package
from edgestyle.coreml_ops import OPS
from edgestyle.coreml_program import evaluate, load
from edgestyle.errors import UnavailableError
from edgestyle.quiet import quiet

ct = coreml_package.import_coremltools()
from coremltools.converters.mil import Builder as mb  # noqa: E402, N813
from coremltools.converters.mil import mil  # noqa: E402
from coremltools.converters.mil.mil import types  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def _no_old_garbage() -> Iterator[None]:
    """coremltools collects garbage at each conversion; going through all of torch's modules takes most of the time."""
    gc.freeze()
    yield
    gc.unfreeze()


Make = Callable[[Any], Any]


def save(path: Path, inputs: dict[str, tuple[tuple[int, ...], Make]], dtype: Any = types.fp32) -> None:
    """Write one program, as coremltools writes it: from each input, of a shape, to an output "y" of the same name."""
    program = mil.Program()
    placeholders = {name: mb.placeholder(shape, dtype=dtype) for name, (shape, _) in inputs.items()}
    with mil.Function(placeholders, opset_version=ct.target.iOS18) as function:
        function.set_outputs([
            mb.identity(x=make(function.inputs[name]), name=f"y_{name}") for name, (_, make) in inputs.items()
        ])  # fmt: skip
    program.add_function("main", function)
    with quiet():
        ct.convert(
            program,
            minimum_deployment_target=ct.target.iOS18,
            compute_precision=ct.precision.FLOAT32,  # leaves types as they are
            pass_pipeline=ct.PassPipeline.EMPTY,
            skip_model_load=True,
        ).save(str(path))


def computed(folder: Path, x: Tensor, make: Make, dtype: Any = types.fp32) -> Tensor:
    """What the evaluator makes of a saved program of one input."""
    path = folder / "case.mlpackage"
    save(path, {"x": (tuple(x.shape), make)}, dtype)
    return evaluate(load(coreml_package.read(path)), {"x": x})["y_x"]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def const(tensor: Tensor) -> Any:
    return tensor.numpy()


class Case(NamedTuple):
    id: str
    shape: tuple[int, ...]
    mil: Callable[[Any], Any]
    torch: Callable[[Tensor], Tensor]
    positive: bool = False


W, B = random(6, 4, 3, 3, seed=1), random(6, seed=2)
DEPTHWISE = random(4, 1, 3, 3, seed=3)
UP = random(4, 3, 4, 4, seed=4)
OTHER = random(1, 4, 6, 7, seed=5)
GAMMA, BETA, MEAN, VAR = (random(4, seed=seed).abs() + 0.1 for seed in range(6, 10))
NCHW = (1, 4, 6, 7)
EVEN = (1, 4, 6, 8)


def interpolated(**how: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: F.interpolate(x, **how)


def sampled(columns: list[float]) -> Callable[[Tensor], Tensor]:
    """Linear interpolation of the last axis at the given places."""

    def sample(x: Tensor) -> Tensor:
        picked = [torch.lerp(x[..., int(c)], x[..., math.ceil(c)], c - int(c)) for c in columns]
        return torch.stack(picked, -1)

    return sample


def number(x: Any) -> Any:
    return mb.cast(x=x, dtype="fp32")


def positive(x: Any) -> Any:
    return mb.greater(x=x, y=np.float32(0))


def resampled(x: Any, padding: str, coordinates: str, grid: Any) -> Any:
    return mb.resample(
        x=x,
        coordinates=grid,
        sampling_mode="bilinear",
        padding_mode=padding,
        padding_value=np.float32(0),
        coordinates_mode=coordinates,
        align_corners=True,
    )


def one_bit(x: Tensor) -> Any:
    return const(x).astype(types.np_uint1_dtype)


def two_bits(x: Tensor) -> Any:
    return const(x).astype(types.np_uint2_dtype)


def sparse(mask_and_values: Any) -> Any:
    mask, values = mask_and_values
    return mb.constexpr_sparse_to_dense(nonzero_data=values, mask=mask)


GRID = random(1, 5, 6, 2, seed=10).clamp(-1.3, 1.3)
LEVELS = torch.arange(-8.0, 8).reshape(4, 4, 1, 1)
SCALES = torch.tensor([0.5, 1, 2, 4, 0.25, 0.5, 1, 2]).reshape(4, 2, 1, 1)
SHIFTS = torch.arange(8.0).reshape(4, 2, 1, 1)
INDICES = torch.arange(16).reshape(4, 4, 1, 1) * 7 % 4
LUT = torch.tensor([[-1.0, 0, 1, 5], [0.5, 2, 3, -4]]).reshape(2, 1, 1, 1, 4, 1)
PAIRS = torch.arange(8.0).reshape(1, 1, 1, 1, 4, 2)
KEPT = torch.arange(16).reshape(4, 4, 1, 1) % 3 == 0

CASES = [
    # arithmetic
    Case("abs", NCHW, lambda x: mb.abs(x=x), torch.abs),
    Case("add", NCHW, lambda x: mb.add(x=x, y=const(OTHER)), lambda x: x + OTHER),
    Case("add-broadcast", NCHW, lambda x: mb.add(x=np.float32(2), y=x), lambda x: 2 + x),
    Case("sub", NCHW, lambda x: mb.sub(x=x, y=const(OTHER)), lambda x: x - OTHER),
    Case("mul", NCHW, lambda x: mb.mul(x=x, y=x), lambda x: x * x),
    Case("real_div", NCHW, lambda x: mb.real_div(x=x, y=const(OTHER)), lambda x: x / OTHER),
    Case("maximum", NCHW, lambda x: mb.maximum(x=x, y=np.float32(0.1)), lambda x: x.clamp(min=0.1)),
    Case("minimum", NCHW, lambda x: mb.minimum(x=x, y=const(OTHER)), lambda x: torch.minimum(x, OTHER)),
    Case("pow", NCHW, lambda x: mb.pow(x=x, y=np.float32(1.5)), lambda x: x**1.5, positive=True),
    Case("square", NCHW, lambda x: mb.square(x=x), torch.square),
    Case("sqrt", NCHW, lambda x: mb.sqrt(x=x), torch.sqrt, positive=True),
    Case("rsqrt", NCHW, lambda x: mb.rsqrt(x=x, epsilon=0.5), lambda x: 1 / (x + 0.5).sqrt(), positive=True),
    Case("inverse", NCHW, lambda x: mb.inverse(x=x, epsilon=0.5), lambda x: 1 / (x + 0.5), positive=True),
    Case("exp", NCHW, lambda x: mb.exp(x=x), torch.exp),
    Case("log", NCHW, lambda x: mb.log(x=x, epsilon=0.5), lambda x: (x + 0.5).log(), positive=True),
    Case("floor", NCHW, lambda x: mb.floor(x=x), torch.floor),
    Case("ceil", NCHW, lambda x: mb.ceil(x=x), torch.ceil),
    Case("round", NCHW, lambda x: mb.round(x=x), torch.round),
    Case("clip", NCHW, lambda x: mb.clip(x=x, alpha=-0.5, beta=0.5), lambda x: x.clamp(-0.5, 0.5)),
    Case("identity", NCHW, lambda x: mb.identity(x=x), lambda x: x),
    Case("reduce_mean", NCHW, lambda x: mb.reduce_mean(x=x, axes=[2, 3], keep_dims=True), lambda x: x.mean((2, 3), True)),
    Case("reduce_sum", NCHW, lambda x: mb.reduce_sum(x=x, axes=[-1], keep_dims=False), lambda x: x.sum(-1)),
    Case("reduce_max", NCHW, lambda x: mb.reduce_max(x=x, axes=[1], keep_dims=True), lambda x: x.amax(1, True)),
    Case("reduce_min", NCHW, lambda x: mb.reduce_min(x=x, axes=[0, 2], keep_dims=True), lambda x: x.amin((0, 2), True)),
    Case("reduce_sum-all", NCHW, lambda x: mb.reduce_sum(x=x, keep_dims=True), lambda x: x.sum((0, 1, 2, 3), True)),
    Case("matmul", (2, 3, 4), lambda x: mb.matmul(x=x, y=x, transpose_y=True), lambda x: x @ x.mT),
    Case("matmul-x", (2, 3, 4), lambda x: mb.matmul(x=x, y=x, transpose_x=True), lambda x: x.mT @ x),
    Case("linear", (2, 4), lambda x: mb.linear(x=x, weight=const(W[:, :, 0, 0]), bias=const(B)), lambda x: F.linear(x, W[:, :, 0, 0], B)),
    # activations
    Case("relu", NCHW, lambda x: mb.relu(x=x), torch.relu),
    Case("relu6", NCHW, lambda x: mb.relu6(x=mb.mul(x=x, y=np.float32(9))), lambda x: F.relu6(x * 9)),
    Case("leaky_relu", NCHW, lambda x: mb.leaky_relu(x=x, alpha=0.2), lambda x: F.leaky_relu(x, 0.2)),
    Case("prelu", NCHW, lambda x: mb.prelu(x=x, alpha=const(GAMMA)), lambda x: F.prelu(x, GAMMA)),
    Case("elu", NCHW, lambda x: mb.elu(x=x, alpha=0.7), lambda x: F.elu(x, 0.7)),
    Case("gelu", NCHW, lambda x: mb.gelu(x=x), F.gelu),
    Case("gelu-tanh", NCHW, lambda x: mb.gelu(x=x, mode="TANH_APPROXIMATION"), lambda x: F.gelu(x, approximate="tanh")),
    Case("gelu-sigmoid", NCHW, lambda x: mb.gelu(x=x, mode="SIGMOID_APPROXIMATION"), lambda x: x * torch.sigmoid(1.702 * x)),
    Case("sigmoid", NCHW, lambda x: mb.sigmoid(x=x), torch.sigmoid),
    Case("sigmoid_hard", NCHW, lambda x: mb.sigmoid_hard(x=x, alpha=1 / 6, beta=0.5), F.hardsigmoid),
    Case("silu", NCHW, lambda x: mb.silu(x=x), F.silu),
    Case("softplus", NCHW, lambda x: mb.softplus(x=x), F.softplus),
    Case("softmax", NCHW, lambda x: mb.softmax(x=x, axis=1), lambda x: F.softmax(x, 1)),
    Case("tanh", NCHW, lambda x: mb.tanh(x=x), torch.tanh),
    Case("scaled_tanh", NCHW, lambda x: mb.scaled_tanh(x=x, alpha=2.0, beta=0.5), lambda x: 2 * torch.tanh(x / 2)),
    Case("linear_activation", NCHW, lambda x: mb.linear_activation(x=x, alpha=2.0, beta=0.5), lambda x: 2 * x + 0.5),
    # convolutions and pooling
    Case("conv", NCHW, lambda x: mb.conv(x=x, weight=const(W), bias=const(B), pad_type="valid"), lambda x: F.conv2d(x, W, B)),
    Case("conv-no-bias", NCHW, lambda x: mb.conv(x=x, weight=const(W)), lambda x: F.conv2d(x, W)),
    Case("conv-stride", NCHW, lambda x: mb.conv(x=x, weight=const(W), strides=[2, 1], pad_type="valid"), lambda x: F.conv2d(x, W, stride=(2, 1))),
    Case("conv-custom", NCHW, lambda x: mb.conv(x=x, weight=const(W), pad_type="custom", pad=[0, 1, 2, 0]), lambda x: F.conv2d(F.pad(x, (2, 0, 0, 1)), W)),
    Case("conv-same", EVEN, lambda x: mb.conv(x=x, weight=const(W), strides=[2, 2], pad_type="same"), lambda x: F.conv2d(F.pad(x, (0, 1, 0, 1)), W, stride=2)),
    Case("conv-same-lower", EVEN, lambda x: mb.conv(x=x, weight=const(W), strides=[2, 2], pad_type="same_lower"), lambda x: F.conv2d(F.pad(x, (1, 0, 1, 0)), W, stride=2)),
    Case("conv-dilated", NCHW, lambda x: mb.conv(x=x, weight=const(W), dilations=[2, 2], pad_type="same"), lambda x: F.conv2d(x, W, dilation=2, padding=2)),
    Case("conv-depthwise", NCHW, lambda x: mb.conv(x=x, weight=const(DEPTHWISE), groups=4, pad_type="same"), lambda x: F.conv2d(x, DEPTHWISE, padding=1, groups=4)),
    Case("conv-1d", (1, 4, 9), lambda x: mb.conv(x=x, weight=const(W[..., 0]), pad_type="same"), lambda x: F.conv1d(x, W[..., 0], padding=1)),
    Case("conv_transpose", NCHW, lambda x: mb.conv_transpose(x=x, weight=const(UP), strides=[2, 2]), lambda x: F.conv_transpose2d(x, UP, stride=2)),
    Case("conv_transpose-custom", NCHW, lambda x: mb.conv_transpose(x=x, weight=const(UP), bias=const(BETA[:3]), strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1]), lambda x: F.conv_transpose2d(x, UP, BETA[:3], stride=2, padding=1)),
    Case("conv_transpose-same", NCHW, lambda x: mb.conv_transpose(x=x, weight=const(UP), strides=[2, 2], pad_type="same"), lambda x: F.conv_transpose2d(x, UP, stride=2, padding=1)),
    Case("conv_transpose-shape", NCHW, lambda x: mb.conv_transpose(x=x, weight=const(UP[..., :3, :3]), strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1], output_shape=[1, 3, 12, 14]), lambda x: F.conv_transpose2d(x, UP[..., :3, :3], stride=2, padding=1, output_padding=1)),
    Case("conv_transpose-groups", NCHW, lambda x: mb.conv_transpose(x=x, weight=const(UP), groups=2), lambda x: F.conv_transpose2d(x, UP, groups=2)),
    Case("avg_pool", NCHW, lambda x: mb.avg_pool(x=x, kernel_sizes=[2, 2], strides=[4, 4], pad_type="valid"), lambda x: F.avg_pool2d(x, 2, 4)),
    Case("avg_pool-padded", NCHW, lambda x: mb.avg_pool(x=x, kernel_sizes=[3, 3], strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1]), lambda x: F.avg_pool2d(x, 3, 2, 1)),
    Case("avg_pool-excluding", NCHW, lambda x: mb.avg_pool(x=x, kernel_sizes=[3, 3], strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1], exclude_padding_from_average=True), lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)),
    Case("avg_pool-ceil", NCHW, lambda x: mb.avg_pool(x=x, kernel_sizes=[3, 3], strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1], ceil_mode=True), lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True)),
    Case("max_pool", NCHW, lambda x: mb.max_pool(x=x, kernel_sizes=[2, 3], strides=[2, 1], pad_type="valid"), lambda x: F.max_pool2d(x, (2, 3), (2, 1))),
    Case("max_pool-padded", NCHW, lambda x: mb.max_pool(x=x, kernel_sizes=[3, 3], strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1], ceil_mode=True), lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True)),
    Case("max_pool-same", NCHW, lambda x: mb.max_pool(x=x, kernel_sizes=[3, 3], pad_type="same"), lambda x: F.max_pool2d(x, 3, 1, 1)),
    # norms
    Case("instance_norm", NCHW, lambda x: mb.instance_norm(x=x, gamma=const(GAMMA), beta=const(BETA), epsilon=1e-3), lambda x: F.instance_norm(x, weight=GAMMA, bias=BETA, eps=1e-3)),
    Case("instance_norm-plain", NCHW, lambda x: mb.instance_norm(x=x), F.instance_norm),
    Case("batch_norm", NCHW, lambda x: mb.batch_norm(x=x, mean=const(MEAN), variance=const(VAR), gamma=const(GAMMA), beta=const(BETA)), lambda x: F.batch_norm(x, MEAN, VAR, GAMMA, BETA)),
    Case("layer_norm", (2, 3, 4), lambda x: mb.layer_norm(x=x, axes=[-1], gamma=const(GAMMA), beta=const(BETA)), lambda x: F.layer_norm(x, (4,), GAMMA, BETA)),
    Case("layer_norm-middle", NCHW, lambda x: mb.layer_norm(x=x, axes=[1], gamma=const(GAMMA)), lambda x: F.layer_norm(x.movedim(1, -1), (4,), GAMMA).movedim(-1, 1)),
    # resampling and borders
    Case("pad", NCHW, lambda x: mb.pad(x=x, pad=[1, 2, 3, 0], constant_val=0.5), lambda x: F.pad(x, (3, 0, 1, 2), value=0.5)),
    Case("pad-reflect", NCHW, lambda x: mb.pad(x=x, pad=[0, 0, 0, 0, 2, 1, 3, 4], mode="reflect"), lambda x: F.pad(x, (3, 4, 2, 1), "reflect")),
    Case("pad-replicate", NCHW, lambda x: mb.pad(x=x, pad=[2, 1, 3, 4], mode="replicate"), lambda x: F.pad(x, (3, 4, 2, 1), "replicate")),
    Case("crop", NCHW, lambda x: mb.crop(x=x, crop_height=[1, 2], crop_width=[0, 3]), lambda x: x[..., 1:-2, :-3]),
    Case("upsample_nearest_neighbor", NCHW, lambda x: mb.upsample_nearest_neighbor(x=x, scale_factor_height=2, scale_factor_width=3), interpolated(scale_factor=(2, 3))),
    Case("resize_nearest_neighbor", NCHW, lambda x: mb.resize_nearest_neighbor(x=x, target_size_height=12, target_size_width=5), interpolated(size=(12, 5))),
    Case("upsample_bilinear", NCHW, lambda x: mb.upsample_bilinear(x=x, scale_factor_height=2, scale_factor_width=2, align_corners=False), interpolated(scale_factor=2, mode="bilinear", align_corners=False)),
    Case("upsample_bilinear-corners", NCHW, lambda x: mb.upsample_bilinear(x=x, scale_factor_height=2, scale_factor_width=3), interpolated(scale_factor=(2, 3), mode="bilinear", align_corners=True)),
    Case("resize_bilinear-unalign", NCHW, lambda x: mb.resize_bilinear(x=x, target_size_height=9, target_size_width=4, sampling_mode="UNALIGN_CORNERS"), interpolated(size=(9, 4), mode="bilinear", align_corners=False)),
    Case("resize_bilinear-strict", NCHW, lambda x: mb.resize_bilinear(x=x, target_size_height=9, target_size_width=4, sampling_mode="STRICT_ALIGN_CORNERS"), interpolated(size=(9, 4), mode="bilinear", align_corners=True)),
    # the grids of these are those that coremltools' documentation gives for two pixels
    Case("resize_bilinear-default", (1, 1, 1, 2), lambda x: mb.resize_bilinear(x=x, target_size_height=1, target_size_width=5), sampled([0, 0.4, 0.8, 1, 1])),
    Case("resize_bilinear-offset", (1, 1, 1, 2), lambda x: mb.resize_bilinear(x=x, target_size_height=1, target_size_width=5, sampling_mode="OFFSET_CORNERS"), sampled([0.1, 0.3, 0.5, 0.7, 0.9])),
    Case("resize_bilinear-one", (1, 1, 1, 4), lambda x: mb.resize_bilinear(x=x, target_size_height=1, target_size_width=1, sampling_mode="ALIGN_CORNERS"), sampled([1.5])),
    Case("pixel_shuffle", (1, 12, 2, 3), lambda x: mb.pixel_shuffle(x=x, upscale_factor=2), lambda x: F.pixel_shuffle(x, 2)),
    Case("pixel_unshuffle", EVEN, lambda x: mb.pixel_unshuffle(x=x, downscale_factor=np.uint32(2)), lambda x: F.pixel_unshuffle(x, 2)),
    Case("depth_to_space", (1, 12, 2, 3), lambda x: mb.depth_to_space(x=x, block_size=2), lambda x: F.pixel_shuffle(x.reshape(1, 4, 3, 2, 3).transpose(1, 2).reshape(1, 12, 2, 3), 2)),
    Case("space_to_depth", EVEN, lambda x: mb.space_to_depth(x=x, block_size=2), lambda x: F.pixel_unshuffle(x, 2).reshape(1, 4, 4, 3, 4).transpose(1, 2).reshape(1, 16, 3, 4)),
    # shapes
    Case("concat", NCHW, lambda x: mb.concat(values=[x, const(OTHER)], axis=1), lambda x: torch.cat([x, OTHER], 1)),
    Case("concat-interleaved", NCHW, lambda x: mb.concat(values=[x, const(OTHER)], axis=1, interleave=True), lambda x: torch.stack([x, OTHER], 2).flatten(1, 2)),
    Case("stack", NCHW, lambda x: mb.stack(values=[x, const(OTHER)], axis=1), lambda x: torch.stack([x, OTHER], 1)),
    Case("split", NCHW, lambda x: mb.split(x=x, num_splits=2, axis=1)[1], lambda x: x[:, 2:]),
    Case("split-sizes", NCHW, lambda x: mb.split(x=x, split_sizes=[1, 3], axis=1)[1], lambda x: x[:, 1:]),
    Case("reshape", NCHW, lambda x: mb.reshape(x=x, shape=[2, -1, 7]), lambda x: x.reshape(2, -1, 7)),
    Case("reshape-zero", NCHW, lambda x: mb.reshape(x=x, shape=[0, 2, 2, -1]), lambda x: x.reshape(1, 2, 2, -1)),
    Case("transpose", NCHW, lambda x: mb.transpose(x=x, perm=[0, 2, 3, 1]), lambda x: x.permute(0, 2, 3, 1)),
    Case("expand_dims", (4, 5), lambda x: mb.expand_dims(x=x, axes=[0, -1]), lambda x: x[None, ..., None]),
    Case("squeeze", (1, 4, 1, 5), lambda x: mb.squeeze(x=x, axes=[2]), lambda x: x.squeeze(2)),
    Case("squeeze-all", (1, 4, 1, 5), lambda x: mb.squeeze(x=x), torch.squeeze),
    Case("tile", NCHW, lambda x: mb.tile(x=x, reps=[1, 1, 2, 3]), lambda x: x.repeat(1, 1, 2, 3)),
    Case("slice_by_index", NCHW, lambda x: mb.slice_by_index(x=x, begin=[0, 1, -4, 0], end=[1, 3, 6, 7], stride=[1, 1, 2, 3]), lambda x: x[:, 1:3, -4:6:2, ::3]),
    Case("slice_by_index-masks", NCHW, lambda x: mb.slice_by_index(x=x, begin=[0, 1, 5, 2], end=[0, 0, 0, 0], stride=[1, 1, -1, 1], begin_mask=[True, False, False, False], end_mask=[True, False, True, True], squeeze_mask=[False, True, False, False]), lambda x: x[:, 1].flip(1)[..., 2:]),
    Case("slice_by_size", NCHW, lambda x: mb.slice_by_size(x=x, begin=[0, 1, 2, 0], size=[1, 2, -1, 7]), lambda x: x[:, 1:3, 2:]),
    # number formats
    Case("cast", NCHW, lambda x: mb.cast(x=mb.cast(x=mb.mul(x=x, y=np.float32(9)), dtype="int32"), dtype="fp32"), lambda x: (x * 9).trunc()),
    Case("cast-fp16", NCHW, lambda x: mb.cast(x=mb.cast(x=x, dtype="fp16"), dtype="fp32"), lambda x: x.half().float()),
    Case("dequantize", NCHW, lambda x: mb.dequantize(input=mb.quantize(input=x, scale=np.float32(0.05), zero_point=np.uint8(30), output_dtype="uint8"), scale=np.float32(0.05), zero_point=np.uint8(30)), lambda x: ((x / 0.05).round().clamp(-30, 225)) * 0.05),
    Case("quantize", NCHW, lambda x: mb.dequantize(input=mb.quantize(input=x, scale=const(GAMMA), axis=1, output_dtype="int8"), scale=const(GAMMA), axis=1), lambda x: (x / GAMMA.reshape(-1, 1, 1)).round() * GAMMA.reshape(-1, 1, 1)),
    # more arithmetic
    *(
        Case(name, NCHW, lambda x, name=name: getattr(mb, name)(x=mb.tanh(x=x)), lambda x, name=name: getattr(torch, name)(torch.tanh(x)))
        for name in ("acos", "asin", "atan", "atanh", "cos", "cosh", "sin", "sinh", "tan", "erf", "exp2", "sign")
    ),
    Case("floor_div", NCHW, lambda x: mb.floor_div(x=x, y=np.float32(0.3)), lambda x: torch.floor(x / 0.3)),
    Case("mod", NCHW, lambda x: mb.mod(x=x, y=np.float32(0.3)), lambda x: x - torch.floor(x / 0.3) * 0.3),
    Case("threshold", NCHW, lambda x: mb.threshold(x=x, alpha=0.2), lambda x: x.clamp(min=0.2)),
    Case("einsum", (2, 3, 4, 5), lambda x: mb.einsum(values=[x, mb.transpose(x=x, perm=[0, 3, 2, 1])], equation="nchw,nwhu->nchu"), lambda x: torch.einsum("nchw,nwhu->nchu", x, x.permute(0, 3, 2, 1))),
    *(
        Case(name, NCHW, lambda x, name=name: number(getattr(mb, name)(x=x, y=const(OTHER.sign()))), lambda x, how=how: how(x, OTHER.sign()).float())
        for name, how in {"greater": torch.gt, "greater_equal": torch.ge, "less": torch.lt, "less_equal": torch.le}.items()
    ),
    *(
        Case(name, NCHW, lambda x, name=name: number(getattr(mb, name)(x=mb.sign(x=x), y=const(OTHER.sign()))), lambda x, how=how: how(x.sign(), OTHER.sign()).float())
        for name, how in {"equal": torch.eq, "not_equal": torch.ne}.items()
    ),
    *(
        Case(name, NCHW, lambda x, name=name: number(getattr(mb, name)(x=positive(x), y=positive(mb.sub(x=x, y=np.float32(1))))), lambda x, how=how: how(x > 0, x > 1).float())
        for name, how in {"logical_and": torch.logical_and, "logical_or": torch.logical_or, "logical_xor": torch.logical_xor}.items()
    ),
    Case("logical_not", NCHW, lambda x: number(mb.logical_not(x=positive(x))), lambda x: (x <= 0).float()),
    Case("select", NCHW, lambda x: mb.select(cond=positive(x), a=x, b=const(OTHER)), lambda x: torch.where(x > 0, x, OTHER)),
    Case("reduce_argmax", NCHW, lambda x: number(mb.reduce_argmax(x=x, axis=1)), lambda x: x.argmax(1).float()),
    Case("reduce_argmin", NCHW, lambda x: number(mb.reduce_argmin(x=x, axis=-1, keep_dims=True)), lambda x: x.argmin(-1, True).float()),
    Case("reduce_l1_norm", NCHW, lambda x: mb.reduce_l1_norm(x=x, axes=[2, 3], keep_dims=False), lambda x: x.abs().sum((2, 3))),
    Case("reduce_l2_norm", NCHW, lambda x: mb.reduce_l2_norm(x=x, axes=[1, 3], keep_dims=True), lambda x: x.square().sum((1, 3), True).sqrt()),
    Case("reduce_log_sum", NCHW, lambda x: mb.reduce_log_sum(x=x, axes=[1], keep_dims=False), lambda x: x.sum(1).log(), positive=True),
    Case("reduce_log_sum_exp", NCHW, lambda x: mb.reduce_log_sum_exp(x=x, axes=[1], keep_dims=False), lambda x: x.exp().sum(1).log()),
    Case("reduce_prod", NCHW, lambda x: mb.reduce_prod(x=x, axes=[1, 2], keep_dims=False), lambda x: x.prod(1).prod(1)),
    Case("reduce_sum_square", NCHW, lambda x: mb.reduce_sum_square(x=x, axes=[1], keep_dims=False), lambda x: x.square().sum(1)),
    Case("scaled_dot_product_attention", (2, 3, 4), lambda x: mb.scaled_dot_product_attention(query=x, key=x, value=x), lambda x: F.softmax(x @ x.mT / 2, -1) @ x),
    Case("softsign", NCHW, lambda x: mb.softsign(x=x), lambda x: x / (1 + x.abs())),
    Case("softplus_parametric", NCHW, lambda x: mb.softplus_parametric(x=x, alpha=const(GAMMA), beta=const(BETA)), lambda x: GAMMA[:, None, None] * (1 + (BETA[:, None, None] * x).exp()).log()),
    Case("thresholded_relu", NCHW, lambda x: mb.thresholded_relu(x=x, alpha=0.5), lambda x: F.threshold(x, 0.5, 0)),
    Case("clamped_relu", NCHW, lambda x: mb.clamped_relu(x=x, alpha=0.2, beta=0.5), lambda x: F.leaky_relu(x, 0.2).clamp(max=0.5)),
    Case("l2_norm", NCHW, lambda x: mb.l2_norm(x=x, epsilon=1e-3), lambda x: x / (x.square().sum() + 1e-3).sqrt()),
    Case("l2_pool", NCHW, lambda x: mb.l2_pool(x=x, kernel_sizes=[2, 2], strides=[2, 2], pad_type="valid"), lambda x: F.lp_pool2d(x, 2, 2)),
    Case("local_response_norm", NCHW, lambda x: mb.local_response_norm(x=x, size=3, alpha=0.5, beta=0.6, k=1.5), lambda x: F.local_response_norm(x, 3, 0.5, 0.6, 1.5)),
    Case("resize", NCHW, lambda x: mb.resize(x=x, shape=[0, 14], resized_dims=np.uint32(2), interpolation_mode="NEAREST_NEIGHBOR"), interpolated(size=(6, 14))),
    Case("resize-linear", NCHW, lambda x: mb.resize(x=x, shape=[9, 4], resized_dims=np.uint32(2), sampling_mode="UNALIGN_CORNERS"), interpolated(size=(9, 4), mode="bilinear", align_corners=False)),
    Case("resample", NCHW, lambda x: resampled(x, "constant", "normalized_minus_one_to_one", const(GRID)), lambda x: F.grid_sample(x, GRID, align_corners=True)),
    Case("resample-border", NCHW, lambda x: resampled(x, "border", "normalized_zero_to_one", const(GRID / 2 + 0.5)), lambda x: F.grid_sample(x, GRID, padding_mode="border", align_corners=True)),
    Case("gather", NCHW, lambda x: mb.gather(x=x, indices=[2, 0, -1], axis=1), lambda x: x[:, [2, 0, -1]]),
    Case("gather-scalar", NCHW, lambda x: mb.gather(x=x, indices=2, axis=1), lambda x: x[:, 2]),
    Case("gather_along_axis", (2, 4), lambda x: mb.gather_along_axis(x=x, indices=np.array([[3, 0], [1, 1]], np.int32), axis=1), lambda x: x.gather(1, torch.tensor([[3, 0], [1, 1]]))),
    Case("gather_nd", NCHW, lambda x: mb.gather_nd(x=x, indices=np.array([[0, 1], [0, 3]], np.int32)), lambda x: x[[0, 0], [1, 3]]),
    Case("reverse", NCHW, lambda x: mb.reverse(x=x, axes=[2, 3]), lambda x: x.flip(2, 3)),
    Case("flatten2d", NCHW, lambda x: mb.flatten2d(x=x, axis=2), lambda x: x.reshape(4, 42)),
    Case("space_to_batch", EVEN, lambda x: mb.space_to_batch(x=x, block_shape=[2, 2], paddings=[[0, 0], [1, 1]]), lambda x: torch.cat([F.pad(x, (1, 1))[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)])),
    Case("batch_to_space", (4, 2, 3, 4), lambda x: mb.batch_to_space(x=x, block_shape=[2, 2], crops=[[0, 0], [1, 1]]), lambda x: F.pixel_shuffle(x.transpose(0, 1).reshape(1, 8, 3, 4), 2)[..., 1:-1]),
    # weights in blocks and tables, as iOS 18 has them
    Case("constexpr_blockwise_shift_scale", NCHW, lambda x: mb.conv(x=x, weight=mb.constexpr_blockwise_shift_scale(data=const(LEVELS).astype(np.int8), scale=const(SCALES), offset=const(SHIFTS).astype(np.int8))), lambda x: F.conv2d(x, LEVELS.sub(SHIFTS.repeat_interleave(2, 1)) * SCALES.repeat_interleave(2, 1))),
    Case("constexpr_lut_to_dense", NCHW, lambda x: mb.conv(x=x, weight=mb.constexpr_lut_to_dense(indices=two_bits(INDICES), lut=const(LUT))), lambda x: F.conv2d(x, torch.stack([LUT[i // 2, 0, 0, 0, :, 0][INDICES[i]] for i in range(4)]))),
    Case("constexpr_lut_to_dense-vectors", NCHW, lambda x: mb.conv(x=x, weight=mb.constexpr_lut_to_dense(indices=two_bits(INDICES[:, :2]), lut=const(PAIRS), vector_axis=1)), lambda x: F.conv2d(x, PAIRS[0, 0, 0, 0][INDICES[:, :2, 0, 0]].reshape(4, 4, 1, 1))),
    Case("constexpr_sparse_to_dense", NCHW, lambda x: mb.conv(x=x, weight=mb.constexpr_sparse_to_dense(nonzero_data=const(LEVELS[KEPT]), mask=one_bit(KEPT))), lambda x: F.conv2d(x, LEVELS * KEPT)),
    Case("constexpr_lut_to_sparse", NCHW, lambda x: mb.conv(x=x, weight=sparse(mb.constexpr_lut_to_sparse(indices_mask=one_bit(KEPT), indices_nonzero_data=two_bits(INDICES[KEPT]), lut=const(LUT)))), lambda x: F.conv2d(x, torch.stack([LUT[i // 2, 0, 0, 0, :, 0][INDICES[i]] for i in range(4)]) * KEPT)),
    Case("constexpr_sparse_blockwise_shift_scale", NCHW, lambda x: mb.conv(x=x, weight=sparse(mb.constexpr_sparse_blockwise_shift_scale(data_mask=one_bit(KEPT), nonzero_data=const(LEVELS[KEPT]).astype(np.int8), scale=const(SCALES)))), lambda x: F.conv2d(x, LEVELS * SCALES.repeat_interleave(2, 1) * KEPT)),
]  # fmt: skip
# ruff: noqa: E501  # a table is read by its rows


def input_of(case: Case) -> Tensor:
    x = random(*case.shape)
    return x.abs() + 0.1 if case.positive else x


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """What the evaluator makes of every case: one program, for each conversion takes its time."""
    path = tmp_path_factory.mktemp("cases") / "cases.mlpackage"
    save(path, {f"x{i}": (case.shape, case.mil) for i, case in enumerate(CASES)})
    outputs = evaluate(load(coreml_package.read(path)), {f"x{i}": input_of(case) for i, case in enumerate(CASES)})
    return {case.id: outputs[f"y_x{i}"] for i, case in enumerate(CASES)}


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_ops_agree_with_torch(case: Case, results: dict[str, Tensor]) -> None:
    assert_agrees(results[case.id], case.torch(input_of(case)))


def assert_agrees(actual: Tensor, expected: Tensor) -> None:
    actual, expected = actual.double(), expected.double()
    assert actual.shape == expected.shape
    error = float((actual - expected).square().mean())
    assert error <= 1e-9 * float(expected.abs().max()) ** 2, "under 90 dB"


I32 = torch.int32
FOLDED: dict[str, tuple[dict[str, Any], Tensor]] = {
    # ops that a program of fixed size has only on constants, which coremltools folds: called as the evaluator does
    "shape": ({"x": torch.zeros(1, 3, 4)}, torch.tensor([1, 3, 4])),
    "fill": ({"shape": torch.tensor([2, 3]), "value": 0.5}, torch.full((2, 3), 0.5)),
    "fill_like": ({"ref_tensor": torch.zeros(2, 3), "value": 2.0}, torch.full((2, 3), 2.0)),
    "range_1d": ({"end": torch.tensor(7), "start": 1, "step": torch.tensor(2)}, torch.tensor([1, 3, 5])),
    "one_hot": ({"indices": torch.tensor([2, 0], dtype=I32), "one_hot_vector_size": 3}, torch.tensor([[0, 0, 1], [1, 0, 0]])),
    "gather": ({"x": torch.arange(6).reshape(2, 3), "indices": torch.tensor([[-1, 0]]), "axis": 1}, torch.tensor([[[2, 0]], [[5, 3]]])),
    "constexpr_cast": ({"source_val": torch.ones(2), "output_dtype": "fp32"}, torch.ones(2)),
    # bits are filled from the lowest up: 4 indices of 2 bits in a byte, of 3 bits 0b001_101_11 0b0 and so on
    "constexpr_lut_to_dense": (
        {"indices": torch.tensor([0b11_01_00_10, 0b01], dtype=torch.uint8), "lut": torch.tensor([1.0, 2, 3, 4]), "shape": torch.tensor([5, 1])},
        torch.tensor([[3.0], [1], [2], [4], [2]]),
    ),
    "constexpr_sparse_to_dense": (
        {"nonzero_data": torch.tensor([5.0, 6]), "mask": torch.tensor([0b0010_1000], dtype=torch.uint8), "shape": torch.tensor([2, 3])},
        torch.tensor([[0.0, 0, 0], [5, 0, 6]]),
    ),
    "constexpr_affine_dequantize": (
        {"quantized_data": torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8), "zero_point": 1, "scale": torch.tensor([0.5, 2]), "axis": 0},
        torch.tensor([[0, 0.5], [4, 6]]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("op", FOLDED)
def test_ops_on_constants(op: str) -> None:
    arguments, expected = FOLDED[op]
    actual = OPS[op](**arguments)
    assert isinstance(actual, Tensor)
    torch.testing.assert_close(actual, expected, check_dtype=False)


def test_every_op_has_a_case() -> None:
    tested = {case.id.split("-")[0] for case in CASES} | FOLDED.keys()
    assert tested == OPS.keys()


# Number formats ------------------------------------------------------------------------------------


def half(folder: Path, values: list[float], make: Callable[[Any], Any]) -> list[float]:
    return [float(value) for value in computed(folder, torch.tensor(values), make, types.fp16)]


@pytest.mark.parametrize(
    ("make", "x", "expected"),
    [
        (lambda x: mb.add(x=x, y=np.float16(1)), 2048.0, 2048.0),  # 2049 lies between two numbers; even wins
        (lambda x: mb.add(x=x, y=np.float16(1)), 2050.0, 2052.0),
        (lambda x: mb.mul(x=x, y=np.float16(0.1)), 3.0, 0.2998046875),  # 0.1 in fp16 is 0.0999755859375
        (lambda x: mb.identity(x=x), 1 + 2**-12, 1.0),  # the input itself is rounded
        (lambda x: mb.mul(x=x, y=x), 2.0**-13, 0.0),  # 2^-26 is under half the smallest number
        (lambda x: mb.mul(x=x, y=x), 300.0, math.inf),  # over 65504
        (lambda x: mb.mul(x=x, y=x), -255.9, 65472.0),
        (lambda x: mb.mul(x=mb.mul(x=x, y=x), y=np.float16(0.001)), 300.0, math.inf),  # an overflow is not undone
        (lambda x: mb.cast(x=mb.mul(x=mb.cast(x=x, dtype="fp32"), y=np.float32(300)), dtype="fp32"), 300.0, 90000.0),
    ],
)
def test_every_result_is_rounded_to_fp16(make: Callable[[Any], Any], x: float, expected: float, tmp_path: Path) -> None:
    assert half(tmp_path, [x], make) == [expected]


def test_sums_inside_an_op_are_kept_in_fp32(tmp_path: Path) -> None:
    x = torch.tensor([60000.0, 60000.0, -60000.0, 2**-5]).reshape(1, 4, 1, 1)
    ones = np.ones((1, 4, 1, 1), np.float16)
    assert computed(tmp_path, x, lambda x: mb.conv(x=x, weight=ones), types.fp16).item() == 60000


# What cannot be evaluated --------------------------------------------------------------------------


def test_an_unknown_op_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"no Core ML op 'cumsum' \('running_total' in .*case.mlpackage\)"):
        computed(tmp_path, random(1, 3, 4, 4), lambda x: mb.cumsum(x=x, axis=1, name="running_total"))


def test_an_op_that_fails_is_named(tmp_path: Path) -> None:
    save(tmp_path / "a.mlpackage", {"x": (NCHW, lambda x: mb.conv(x=x, weight=const(W), name="first_conv"))})
    program = load(coreml_package.read(tmp_path / "a.mlpackage"))
    with pytest.raises(UnavailableError, match="cannot compute conv 'first_conv'"):
        evaluate(program, {"x": random(1, 5, 6, 7)})
