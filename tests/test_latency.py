"""Timing, counting work, planning, memory, baselines and budgets; nothing here depends on how long anything takes."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from runner_files import onnx_file, tflite_file

from edgestyle.checkpoint import Checkpoint
from edgestyle.errors import CheckError, ConfigError, UsageError
from edgestyle.files import sha256
from edgestyle.latency import baseline, machine, plan, report, results, scaling, study, work
from edgestyle.latency.collect import Findings
from edgestyle.latency.measure import Effort, Rounds, Timing, compare, compare_here, confirmed, measure, time_here
from edgestyle.latency.results import Artifact, Report, Result
from edgestyle.latency.roofline import Peak
from edgestyle.latency.stats import Ratio
from edgestyle.latency.subject import File, Network, Ready
from edgestyle.settings import Settings

QUICK = Effort(runs=12, most_s=60, warmup_runs=2, warmup_s=0, rounds=4, fewest_rounds=4, most_rounds=4)
PEAK = Peak(gflops=100, gb_s=10, threads=2)


@dataclass(frozen=True)
class Clocked:
    """A subject with a clock of its own, which says one thing after another."""

    seconds: tuple[float, ...]

    def open(self) -> Ready:
        told = iter(self.seconds * 100)
        return Ready(lambda: lambda: next(told), (64, 64))


class Crashing:
    """A subject whose process ends."""

    def open(self) -> Ready:
        import os

        os._exit(3)


class Importing:
    """A subject whose opening is all imports."""

    def open(self) -> Ready:
        import this_is_slow_to_import  # noqa: F401

        return Ready(lambda: lambda: None, (8, 8))


# Measuring ----------------------------------------------------------------------------------------------------------


def test_a_file_is_timed_in_a_process_of_its_own(tmp_path: Path) -> None:
    timing = measure(File(onnx_file(tmp_path / "a.onnx", "Conv", "Relu"), "onnxruntime-cpu"), QUICK)
    assert len(timing.samples_ms) == 12
    assert len(timing.warmup_ms) == 2
    assert timing.size == (64, 64)
    assert timing.fixed
    assert timing.peak_bytes > 10**7
    assert timing.placement
    assert timing.placement.resident
    assert min(timing.init_ms, timing.first_ms, *timing.samples_ms) > 0


def test_a_file_of_free_size_is_timed_at_the_size_asked_for(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "a.onnx", "Relu", size=("h", "w"))
    timing = time_here(File(path, "onnxruntime-cpu", (32, 40)), QUICK)
    assert timing.size == (32, 40)
    assert not timing.fixed


def test_what_has_a_clock_of_its_own_is_believed() -> None:
    assert set(time_here(Clocked((0.002,)), QUICK).samples_ms) == {2}


def test_a_crash_is_an_error_and_no_more() -> None:
    with pytest.raises(CheckError, match="exit code 3"):
        measure(Crashing(), QUICK)


def test_importing_is_not_in_the_time_of_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "this_is_slow_to_import.py").write_text("import time\ntime.sleep(0.5)\n")
    monkeypatch.syspath_prepend(tmp_path)
    began = time.perf_counter()
    timing = time_here(Importing(), QUICK)
    assert timing.init_ms < (time.perf_counter() - began) * 1e3 - 490


def test_two_run_in_turn_and_each_follows_itself_as_often_as_the_other() -> None:
    said: list[str] = []

    @dataclass
    class Speaker:
        name: str

        def open(self) -> Ready:
            return Ready(lambda: lambda: said.append(self.name), (8, 8))

    rounds = compare_here(Speaker("a"), Speaker("b"), QUICK)
    assert "".join(said[4:]) == "abba" * 4  # after the warm-up
    assert [len(side) for side in rounds.a + rounds.b] == [2] * 8
    said.clear()
    rounds = compare_here(Speaker("a"), Speaker("b"), replace(QUICK, settling_runs=1))
    assert "".join(said[4:]) == "aabbbbaa" * 4  # every second is not timed
    assert [len(side) for side in rounds.a + rounds.b] == [2] * 8


def test_comparing_finds_the_ratio() -> None:
    rounds = compare(Clocked((0.003,)), Clocked((0.002,)), QUICK)
    assert rounds.ratio == Ratio(*[pytest.approx(1.5)] * 3)


def test_what_seems_slower_is_compared_once_more_and_judged_by_all_rounds() -> None:
    slow, even = Rounds(((12.0, 12.0),) * 4, ((10.0, 10.0),) * 4), Rounds(((10.0, 10.0),) * 5, ((10.0, 10.0),) * 5)
    for first, second, comparisons in ((slow, even, 2), (slow, slow, 2), (even, slow, 1)):
        waiting = [first, second]
        found = confirmed(lambda waiting=waiting: waiting.pop(0), 0.1)  # type: ignore[misc]
        assert len(waiting) == 2 - comparisons
        assert found.ratio.is_slower(0.1) == (second is slow and comparisons == 2)


def test_comparing_goes_on_until_the_interval_is_narrow() -> None:
    effort = Effort(rounds=20, most_rounds=60, precision=0.03)
    even, uneven = [[1.0, 1.0]] * 40, [[1.0, 1.0], [2.0, 2.0]] * 20
    assert effort.wants_more_rounds(even[:5], even[:5], 1e9)  # too few, however long it takes
    assert effort.wants_more_rounds(even[:19], even[:19], 0)
    assert not effort.wants_more_rounds(even[:20], even[:20], 0)
    assert effort.wants_more_rounds(uneven[:20], even[:20], 0)
    assert not effort.wants_more_rounds(uneven[:20], even[:20], 61)
    assert not effort.wants_more_rounds(uneven + uneven[:20], even + even[:20], 0)


def test_measuring_stops_at_the_runs_or_at_the_time() -> None:
    effort = Effort(runs=100, most_s=10, fewest=5, warmup_runs=5, warmup_s=0.3)
    assert effort.wants_more(4, 1000)
    assert effort.wants_more(99, 9)
    assert not effort.wants_more(5, 10)
    assert not effort.wants_more(100, 0)
    assert effort.wants_more_warmup(100, 0.1)
    assert effort.wants_more_warmup(2, 1)
    assert not effort.wants_more_warmup(5, 0.3)
    assert not effort.wants_more_warmup(1, 5)


# How often the verdict is wrong -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sleeping:
    """A subject that takes at least so long."""

    seconds: float

    def open(self) -> Ready:
        return Ready(lambda: lambda: time.sleep(self.seconds), (8, 8))


def test_the_study_slows_by_a_share_of_the_median_of_recent_runs() -> None:
    slowed = study.Slowed(Sleeping(0.01), 0.5)
    run = slowed.open().bind()
    began = time.perf_counter()
    run()
    run()
    assert time.perf_counter() - began >= 2 * 0.015
    assert len(slowed.bare_s) == 2
    assert min(slowed.bare_s) >= 0.01


def test_a_trial_says_how_much_slower_the_one_side_became() -> None:
    rounds, arrived = study.trial_here(Sleeping(0.001), 1.0, QUICK)
    assert len(rounds.a) == 4
    assert arrived > 0


def test_a_study_is_kept_after_each_trial_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = onnx_file(tmp_path / "a.onnx", "Relu"), tmp_path / "study.json"
    left = 4  # trials until somebody presses Ctrl-C

    def trial(subject: object, share: float, effort: Effort) -> study.Trial:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        ratio = 1.0 + share
        found = {
            "ratio": ratio,
            "ci95": (ratio - 0.01, ratio + 0.01),
            "comparisons": 1,
            "rounds": 60,
            "seconds": 4,
            "load": 1.5,
        }
        arrived = 0.85 if left == 2 else share  # in the second trial of the slowed kind, which does not count
        return study.Trial.model_validate({"share": share, "arrived": arrived, **found})

    monkeypatch.setattr(study, "trial", trial)
    command = [str(path), "--trials", "2", "--out", str(out)]
    assert study.main(command) == 130
    assert "0% slower (0.0% arrived): called slower in 0 of 2 (0.0%)" in capsys.readouterr().out
    left = 100
    assert study.main(command) == 0
    assert left == 99  # one was missing
    assert "15% slower (15.0% arrived): called slower in 2 of 2 (100.0%)" in capsys.readouterr().out


def test_a_study_is_not_continued_with_another_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = onnx_file(tmp_path / "a.onnx", "Relu"), onnx_file(tmp_path / "b.onnx", "Conv")
    out = tmp_path / "study.json"
    kept = study.Study(machine=machine.describe(), file=one.name, sha256=sha256(one), delegate="onnxruntime-cpu")
    out.write_text(kept.model_dump_json())
    command = ["--trials", "0", "--out", str(out)]
    assert study.main([str(one), *command]) == 0
    assert "no trial yet" in capsys.readouterr().out
    for path, reason in (
        (other, "is another study (of a.onnx"),
        (tmp_path, "is not an exported network"),
        (tmp_path / "missing.onnx", "there is no "),
    ):
        assert study.main([str(path), *command]) == 2
        assert reason in capsys.readouterr().err
    out.write_text("a text")
    assert study.main([str(one), *command]) == 2
    assert "is no study" in capsys.readouterr().err


# Work ---------------------------------------------------------------------------------------------------------------


def test_work_of_an_onnx_file_worked_out_by_hand(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "a.onnx", "Conv", "Relu", size=("h", "w"))
    found = work.of_file(path, (10, 20))
    assert found
    picture = 3 * 10 * 20
    assert [(layer.op, layer.macs, layer.params, layer.moved) for layer in found.layers] == [
        ("Conv", picture * 27, 81, 4 * (2 * picture + 81)),
        ("Relu", 0, 0, 4 * 2 * picture),
    ]
    assert found.gmac == pytest.approx(picture * 27 / 1e9)
    assert found.intensity == pytest.approx(2 * picture * 27 / found.moved)


def test_work_of_quantized_onnx_is_that_of_its_integers(tmp_path: Path) -> None:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "s", "z"], ["xf"]),
        helper.make_node("DequantizeLinear", ["wq", "s", "z"], ["wf"]),
        helper.make_node("Conv", ["xf", "wf"], ["y"], pads=[1] * 4),
    ]
    constants = {"s": np.float32(0.1), "z": np.int8(0), "wq": np.ones((3, 3, 3, 3), np.int8)}
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in "xy")
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    model = helper.make_model(helper.make_graph(nodes, "q", [x], [y], initializers))
    onnx.save(model, tmp_path / "q.onnx")
    found = work.of_file(tmp_path / "q.onnx", (8, 8))
    assert found
    assert found.layers == (work.Layer("y", "Conv", 192 * 27, 81, 192 + 81 + 4 * 192),)


def test_work_of_a_tflite_file(tmp_path: Path) -> None:
    path = tflite_file(tmp_path / "a.tflite", "RELU6", "ADD")
    found = work.of_file(path, (64, 64))
    assert found
    assert [(layer.op, layer.moved) for layer in found.layers] == [("RELU6", 8 * 12288), ("ADD", 12 * 12288)]
    assert work.of_file(path, (32, 32)) is None


@pytest.mark.parametrize(
    ("op", "shapes", "macs"),
    [
        ("CONV_2D", [(1, 8, 8, 3), (16, 3, 3, 3)], 8 * 8 * 16 * 27),
        ("DEPTHWISE_CONV_2D", [(1, 8, 8, 16), (1, 3, 3, 16)], 8 * 8 * 16 * 9),
        ("TRANSPOSE_CONV", [(4,), (16, 2, 2, 3), (1, 4, 4, 3)], 4 * 4 * 3 * 16 * 4),
        ("FULLY_CONNECTED", [(1, 7), (16, 7)], 8 * 8 * 16 * 7),
        ("ADD", [(1, 8, 8, 16), (1, 8, 8, 16)], 0),
    ],
)
def test_multiplications_of_tflite_operations(op: str, shapes: list[tuple[int, ...]], macs: int) -> None:
    inputs = [work._Tensor(shape, 4) for shape in shapes]
    assert work._tflite_macs(op, inputs, work._Tensor((1, 8, 8, 16), 4)) == macs


def test_work_of_a_network_is_that_of_its_onnx_file(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    from edgestyle import exporting, registry

    onnx = registry.load(registry.TARGETS, "onnx")
    path = exporting.export(tiny_checkpoint, onnx, (64, 64), tmp_path).path
    net = tiny_checkpoint.network()
    ours, theirs = work.of_network(net, (64, 64)), work.of_file(path, (64, 64))
    assert theirs
    assert ours.gmac == theirs.gmac
    assert ours.params == sum(weight.numel() for weight in net.parameters())
    assert abs(theirs.params - ours.params) <= 64  # the exporter folds constants, and adds some
    assert work.of_network(net, (128, 64)).gmac == pytest.approx(2 * ours.gmac, rel=0.01)


def test_a_network_of_several_paintings_is_timed_by_its_first(tmp_path: Path, tiny_checkpoint: Checkpoint) -> None:
    from edgestyle import checkpoint
    from edgestyle.feedforward import FeedForward, FeedForwardConfig
    from edgestyle.learned import deploy

    config = tiny_checkpoint.config.model_copy(update={"network": {**tiny_checkpoint.config.network, "styles": 3}})
    styles = tuple(config.styles[0].model_copy(update={"name": name}) for name in "abc")
    net = deploy(FeedForward(FeedForwardConfig(**config.network)))
    checkpoint.write(tmp_path, config.model_copy(update={"styles": styles}), net)
    subject = Network(tmp_path, (64, 64))
    assert len(time_here(subject, QUICK).samples_ms) == 12
    assert work.of_network(subject.load(), (64, 64)).gmac == pytest.approx(
        work.of_network(tiny_checkpoint.network(), (64, 64)).gmac
    )


def test_the_roof_is_the_lower_of_arithmetic_and_memory() -> None:
    assert PEAK.attainable(1) == 10
    assert PEAK.attainable(10) == PEAK.attainable(1000) == 100


# Memory -------------------------------------------------------------------------------------------------------------


def test_memory_is_predicted_on_the_line_through_the_largest_sizes() -> None:
    known = [(100, 60.0), (1, 5.0), (200, 110.0)]
    assert scaling.predict_bytes(known, 400) == 210
    assert scaling.predict_bytes(known[:1], 400) is None
    assert scaling.predict_bytes([(100, 60.0), (200, 50.0)], 400) == 50  # noise is no reason to expect less
    assert scaling.fits(known, 400, 240)
    assert not scaling.fits(known, 400, 220)  # something must be left
    assert scaling.fits(known, 400, None)
    assert scaling.fits([], 10**9, 1)


def test_tiles_are_about_half_of_what_fitted() -> None:
    assert scaling.tile_side([(1024 * 1024, 1.0), (256 * 256, 1.0)]) == 512
    assert scaling.tile_side([(10**8, 1.0)]) == 1024
    assert scaling.tile_side([]) == 256


def test_what_does_not_fit_is_painted_in_tiles_or_said(tiny_checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "a.onnx", "Conv", size=("h", "w"))
    findings = Findings(Effort(runs=1, fewest=1, warmup_runs=1, warmup_s=0), free_bytes=1)
    sizes = [(64, 64), (32, 32), (128, 128)]
    findings.measure(plan.jobs([str(tiny_checkpoint.folder), str(path)]), sizes)
    ours, theirs = findings.results[:3], findings.results[3:]
    assert [(result.size, result.tile) for result in ours] == [((32, 32), None), ((64, 64), None), ((128, 128), 256)]
    assert [result.status for result in theirs] == ["passed", "passed", "could not run"]
    assert "the largest that fitted has 0.00 megapixels" in theirs[2].reason
    assert "tiles" in theirs[2].reason


# Planning -----------------------------------------------------------------------------------------------------------


def test_files_are_measured_on_real_delegates_unless_asked(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "a.onnx", "Relu")
    delegates = [job.about.delegate for job in plan.jobs([str(path)])]
    assert delegates == ["onnxruntime-cpu"]
    (asked,) = plan.jobs([str(path)], ["onnxruntime-qnn"])
    assert asked.about.emulated


def test_what_is_known_of_somebody_elses_file(tmp_path: Path) -> None:
    (job,) = plan.jobs([str(tflite_file(tmp_path / "theirs.tflite", "RELU6"))])
    about = job.about
    assert (about.model, about.target, about.scheme, about.manifest) == ("theirs", "tflite", "unknown", False)
    assert about.bytes == (tmp_path / "theirs.tflite").stat().st_size


def test_a_checkpoint_runs_on_torch(tiny_checkpoint: Checkpoint) -> None:
    (job,) = plan.jobs([str(tiny_checkpoint.folder)])
    assert (job.about.delegate, job.about.model) == ("torch", "tiny")
    assert time_here(job.sized((64, 72)).subject, QUICK).size == (64, 72)
    with pytest.raises(UsageError, match="multiples of 8 pixels; 60x64"):
        Network(tiny_checkpoint.folder, (64, 60)).open()


@pytest.mark.parametrize("argument", ["nothing.onnx", "great_wav", "*.onnx", "."])
def test_arguments_that_lead_to_nothing(argument: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        plan.jobs([argument])


def test_builds_are_paired_by_file_name(tmp_path: Path) -> None:
    for folder, names in (("new", "ab"), ("old", "bc")):
        (tmp_path / folder).mkdir()
        for name in names:
            onnx_file(tmp_path / folder / f"{name}.onnx", "Relu")
    pairs, notes = plan.pairs(plan.jobs([str(tmp_path / "new")]), plan.jobs([str(tmp_path / "old")]))
    assert [(a.about.artifact, b.about.artifact) for a, b in pairs] == [
        (str(tmp_path / "new/b.onnx"), str(tmp_path / "old/b.onnx"))
    ]
    assert len(notes) == 2


def test_two_files_are_compared_on_the_delegate_they_share_else_on_their_own(tmp_path: Path) -> None:
    a, b = onnx_file(tmp_path / "a.onnx", "Relu"), tflite_file(tmp_path / "b.tflite", "RELU6")
    ours = plan.jobs([str(a)])
    assert [(x.about.delegate, y.about.delegate) for x, y in plan.against(ours, plan.jobs([str(b)]))] == [
        ("onnxruntime-cpu", "litert-cpu")
    ]
    assert len(plan.against(ours, ours)) == 1


def test_emulated_is_not_compared_with_real(tmp_path: Path) -> None:
    path = str(onnx_file(tmp_path / "a.onnx", "Relu"))
    with pytest.raises(UsageError, match="emulated"):
        plan.against(plan.jobs([path]), plan.jobs([path], ["onnxruntime-qnn"]))


# Results, baselines, budgets ----------------------------------------------------------------------------------------


def result(name: str = "build/a.onnx", ms: float = 10.0, **changes: Any) -> Result:
    """A result of 20 runs, the even ones 1 % slower."""
    known = {"delegate": "onnxruntime-cpu", "emulated": False, "bytes": 1000, **changes}
    about = Artifact(artifact=name, model="great_wave", target="onnx", scheme="fp32", **known)
    samples = tuple(ms * (1 + 0.01 * (i % 2)) for i in range(20))
    timing = Timing((64, 64), True, None, None, 5.0, 20.0, (11.0,), samples, 10**8)
    layer = work.Layer("stem", "Conv", 10**9, 100, 2 * 10**8)
    return results.timed(about, timing, work.Work((layer,)), PEAK)


def whole(*found: Result, **changes: Any) -> Report:
    known = {"machine": machine.describe(), "peak": PEAK, "results": found, "passed": True}
    return Report(**{**known, **changes})


def test_a_result_has_what_the_json_promises() -> None:
    found = result().model_dump(mode="json")
    assert found["size"] == [64, 64]
    assert found["p50_ms"] == pytest.approx(10.05)
    assert found["p99_ms"] is None
    assert found["gmac"] == 1
    assert found["gflops"] == pytest.approx(2 / 0.01005, rel=1e-3)
    assert found["roofline"] == pytest.approx(found["gflops"] / 100, rel=1e-3)
    assert found["peak_mb"] == 100
    assert len(found["samples_ms"]) == 20


def test_a_slower_result_than_the_baseline_is_a_regression(tmp_path: Path) -> None:
    path = tmp_path / "last.json"
    path.write_text(whole(result(ms=10), result("old/b.onnx")).model_dump_json())
    earlier, why_not = baseline.read(path, machine.describe())
    assert not why_not
    comparisons, notes = baseline.compare([result("new/a.onnx", ms=12), result("c.onnx")], earlier, 0.1)
    assert [(c.ratio, c.verdict, c.regressed) for c in comparisons] == [(1.2, "slower", True)]
    assert notes == ["c.onnx on onnxruntime-cpu is not in the baseline"]
    (within,), _ = baseline.compare([result(ms=10.8)], earlier, 0.1)
    assert not within.regressed


def test_an_emulated_delegate_is_never_a_regression() -> None:
    (comparison,), _ = baseline.compare([result(ms=12, emulated=True)], [result(emulated=True)], 0.1)
    assert not comparison.regressed


@pytest.mark.parametrize("other", [{"cpu": "another"}, {"threads": 64}, {"versions": {"edgestyle": "0.0.1"}}])
def test_a_baseline_of_another_machine_or_version_is_said(tmp_path: Path, other: dict[str, Any]) -> None:
    path = tmp_path / "last.json"
    there = machine.describe().model_copy(update=other)
    path.write_text(whole(machine=there).model_dump_json())
    earlier, why_not = baseline.read(path, machine.describe())
    assert earlier == ()
    assert "another machine or version" in why_not
    assert str(next(iter(other))) in why_not or "edgestyle 0.0.1" in why_not


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"machine": {}}', '{"machine": 3}'])
def test_a_baseline_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "last.json").write_text(text)
    with pytest.raises(ConfigError, match="is not a report"):
        baseline.read(tmp_path / "last.json", machine.describe())
    with pytest.raises(UsageError, match="cannot read"):
        baseline.read(tmp_path / "missing.json", machine.describe())


def test_budgets() -> None:
    settings = Settings.model_validate(
        {
            "budget": {
                "great_wave": {"p90_ms": 10, "bytes": 999},
                "b": {"bytes": 1000, "psnr_db": 60},
                "c": {"psnr_db": 60},
            }
        }
    )
    found = [result("a.onnx"), result("b.onnx"), result("c.onnx"), result("a.onnx", ms=900, emulated=True)]
    checks = baseline.check_budgets(found, {"b.onnx": 70.0}, settings)
    assert [(check.name, check.status) for check in checks] == [
        ("p90 of a.onnx on onnxruntime-cpu", "failed"),
        ("size of a.onnx", "failed"),
        ("size of b.onnx", "passed"),
        ("PSNR of b.onnx", "passed"),
        ("PSNR of c.onnx", "could not run"),
    ]


def test_the_verdict() -> None:
    good = result()
    slower = results.compared("a", "b", Ratio(1.3, 1.2, 1.4), 0.1, gated=True)
    broken = results.Check(name="size", status="failed", reason="")
    assert results.verdict((good,), (), ())
    assert not results.verdict((), (), ())  # nothing was measured
    assert not results.verdict((good, good.model_copy(update={"status": "failed"})), (), ())
    assert not results.verdict((good,), (slower,), ())
    assert results.verdict((good,), (slower.model_copy(update={"gated": False}),), ())
    assert not results.verdict((good,), (), (broken,))


def test_the_report_is_one_document(tmp_path: Path) -> None:
    from edgestyle.report import html, markdown

    emulated = result("a.onnx", emulated=True)
    failed = result("broken.onnx").model_copy(
        update={"status": "failed", "reason": "crashed", "runs": 0, "samples_ms": ()}
    )
    rounds = Rounds(((12.0, 12.0),) * 4, ((10.0, 10.0),) * 4)
    found = whole(
        result(),
        result("build/b.onnx", ms=30).model_copy(update={"size": (128, 128)}),
        emulated,
        failed,
        comparisons=(results.compared("a", "b", rounds.ratio, 0.1, rounds, gated=True),),
        budgets=(results.Check(name="size of a", status="passed", reason="1 byte"),),
        notes=("Something to know.",),
        layers={"build/a.onnx": (("stem", "Conv", 10**9, 100, 2 * 10**8),)},
        passed=False,
    )
    document = report.document(found, 0.1)
    titles = [section.title for section in document.sections]
    assert titles == [
        "Notes",
        "Time of a run",
        "Emulated delegates",
        "Comparisons",
        "Budgets",
        "Cost by size",
        "How far from the machine's limits",
        "Layers",
        "Not measured",
    ]
    text = markdown.render(document)
    assert "1.200" in text
    assert "crashed" in text
    assert html.render(document)
    assert [(case.suite, case.status) for case in report.cases(found)] == [
        ("latency", "passed"),
        ("latency", "passed"),
        ("latency", "passed"),
        ("latency", "failed"),
        ("regression", "failed"),
        ("budget", "passed"),
    ]
    assert Report.model_validate_json(found.model_dump_json()) == found


def test_the_file_for_github_action_benchmark() -> None:
    entries = json.loads(report.benchmark(whole(result(), result("e.onnx", emulated=True))))
    assert all(entry.keys() <= {"name", "unit", "value", "range", "extra"} for entry in entries)
    assert entries[0]["name"] == "a.onnx on onnxruntime-cpu, 64x64"
    assert entries[0]["value"] == pytest.approx(10.05)
    assert entries[0]["range"] == "± 0.05"
    assert not any("e.onnx on" in entry["name"] for entry in entries)


def test_this_machine() -> None:
    here = machine.describe()
    assert here.threads >= 1
    assert here.cpu
    assert "edgestyle" in here.versions
    assert here.differences(here) == []
    assert here.differences(here.model_copy(update={"load": 9.9, "memory_mb": 1})) == []
    busy = here.model_copy(update={"load": 2 * here.threads, "threads": here.threads})
    assert busy.busy
    assert not here.model_copy(update={"load": None}).busy


def test_free_memory_is_a_number_where_the_system_tells() -> None:
    free = machine.free_bytes()
    assert free is None or (free > 0 and math.isfinite(free))
