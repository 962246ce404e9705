"""How VGG-19's student came to be: a network a quarter as costly learns VGG-19's features (Hinton et al. 2015,
arXiv:1503.02531; feature matching as in FitNets, Romero et al. 2015, arXiv:1412.6550).

    python -m edgestyle.training.distillation --photos photos/ --paintings paintings/ --stylized pictures/ --out DIR

Run again, it goes on from where it stopped. The result, `perceptual.safetensors`, ships with the package;
`docs/perceptual.md` says how well it stands in for its teacher.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from edgestyle.files import staged
from edgestyle.losses import gram_matrix
from edgestyle.perceptual import STUDENT_LAYERS, STUDENT_WEIGHTS, VGG19, PerceptualNetwork, Student, find_vgg_weights
from edgestyle.training.photos import Photos

CROP = 144
"""Side of the crops in pixels."""
SCALES = (200, 640)
"""Short side of the pictures that crops are cut from."""
LEARNING_RATE = 2e-3
STATE = "distillation.pt"


def distil(folder: Path, teacher: VGG19, pools: Sequence[tuple[Photos, int]], steps: int, seed: int = 0) -> Student:
    """Train a student in `folder`, from scratch or from where the last run stopped.

    Args:
        folder: Keeps the state of the run.
        teacher: VGG-19.
        pools: Pictures, and how many crops of each pool are in a batch. Photos alone would teach the student nothing
            about what it is to judge: paintings and stylized pictures belong to it.
        steps: Batches.
        seed: Of crops and first weights.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    student = Student().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = {key: value.clone() for key, value in student.state_dict().items()}
    optimizer = torch.optim.Adam(student.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99))
    scale = _scale(teacher, _batch(pools, generator, mixed=False))
    start = 0
    if (folder / STATE).is_file():
        state = torch.load(folder / STATE, weights_only=True)
        student.load_state_dict(state["student"])
        optimizer.load_state_dict(state["optimizer"])
        average, scale, start = state["average"], state["scale"], state["step"]
    for step in range(start, steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (step + 1) / 50, 2 * (steps - step) / steps)
        loss = _loss(student, teacher, scale, _batch(pools, generator, mixed=step % 2 == 1))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(student.parameters(), 5.0)
        optimizer.step()
        for key, value in student.state_dict().items():
            average[key].lerp_(value, 1 - min(0.998, step / (step + 10)))
        if step % 50 == 49 or step == steps - 1:
            print(f"{step + 1}/{steps}  {loss.item():.4f}", flush=True)  # noqa: T201  # a tool of our own
            state = {"student": student.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            with staged(folder / STATE) as staging:
                torch.save({**state, "average": average, "scale": scale}, staging / STATE)
    student.load_state_dict(average)
    return in_units_of_the_teacher(student, scale)


@torch.no_grad()
def in_units_of_the_teacher(student: Student, scale: dict[str, float]) -> Student:
    """A student of scaled features as one of the teacher's own: a ReLU passes a positive factor through."""
    for relu, head in student.heads.items():
        for parameter in head.parameters():
            parameter.mul_(scale[relu])
    return student


def _batch(pools: Sequence[tuple[Photos, int]], generator: torch.Generator, mixed: bool) -> Tensor:
    """Crops of every pool; `mixed`: blended with one another and noisy, as pictures are on an optimiser's way."""
    x = torch.cat([pool.crops(count, CROP, SCALES, generator) for pool, count in pools])
    if mixed:
        share, noise = torch.rand(2, len(x), 1, 1, 1, generator=generator)
        others = x[torch.randperm(len(x), generator=generator)]
        x = x * share + others * (1 - share) + 0.05 * noise * torch.randn(x.shape, generator=generator)
    return x.clamp(0, 1).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def _scale(teacher: PerceptualNetwork, x: Tensor) -> dict[str, float]:
    """Root mean square of each layer, so that all count alike."""
    return {relu: f.float().square().mean().sqrt().item() for relu, f in teacher(x, STUDENT_LAYERS).items()}


def _loss(student: Student, teacher: PerceptualNetwork, scale: dict[str, float], x: Tensor) -> Tensor:
    """Squared feature distance, and half the relative Gram distance, summed over layers."""
    total = x.new_zeros(())
    with torch.autocast(x.device.type, torch.bfloat16):
        with torch.no_grad():
            aims = teacher(x, STUDENT_LAYERS)
        for relu, learned in student(x, STUDENT_LAYERS).items():
            aim = aims[relu] / scale[relu]
            ours, theirs = gram_matrix(learned), gram_matrix(aim)
            gram = ((ours - theirs).square().sum((1, 2)) / theirs.square().sum((1, 2))).mean()
            total = total + (learned.float() - aim.float()).square().mean() + 0.5 * gram
    return total


def main() -> None:
    """Distil, and write the student's weights in half precision."""
    parser = argparse.ArgumentParser(description="Distil VGG-19's student.")
    for name in ("photos", "paintings", "stylized"):
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="DIR", help=f"a folder of {name}")
    parser.add_argument("--vgg", type=Path, metavar="FILE", help="VGG-19 weights (.npz)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="keeps the run and gets the weights")
    parser.add_argument("--steps", type=int, default=5000)
    args = parser.parse_args()
    pools = [(Photos.load(args.photos), 3), (Photos.load(args.paintings), 2), (Photos.load(args.stylized), 2)]
    student = distil(args.out, VGG19(find_vgg_weights(args.vgg)), pools, args.steps)
    weights = {key: value.half().contiguous() for key, value in student.state_dict().items()}
    with staged(args.out / STUDENT_WEIGHTS) as staging:
        (staging / STUDENT_WEIGHTS).write_bytes(save(weights))


if __name__ == "__main__":
    main()
