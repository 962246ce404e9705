"""The action for other people's CI, and our workflow: linted, and every script in them run as GitHub runs it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgestyle import trial

ROOT = Path(__file__).parents[1]
ACTION = ROOT / ".github" / "actions" / "edgestyle"
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
TREE = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "constraints.txt",
    "edgestyle",
    "export",
    "quantize",
    "models",
    "demo_apps",
)
GITHUB_BASH = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]
"""What `shell: bash` stands for."""
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")

Step = dict[str, Any]


def action() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ACTION / "action.yml").read_text())
    return found


def examples() -> list[str]:
    """Workflows in the documentation."""
    found = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "ci.md").read_text(), re.DOTALL)
    assert found
    return found


class Job:
    """A job in a folder, as far as the scripts of this action need one."""

    def __init__(self, workspace: Path, temp: Path, **inputs: str) -> None:
        steps: list[Step] = action()["runs"]["steps"]
        self.workspace, self.temp, self.summary = workspace, temp, temp / "summary.md"
        self.summary.touch()
        self._steps = {step["name"]: step for step in steps}
        self._values = {f"inputs.{name}": str(spec.get("default", "")) for name, spec in action()["inputs"].items()}
        self.change(**inputs)
        self._values |= {"runner.temp": str(temp), "github.action_path": str(ACTION)}
        self._values["steps.python.outputs.python-path"] = sys.executable

    def change(self, **inputs: str) -> None:
        self._values |= {f"inputs.{name}": value for name, value in inputs.items()}

    def run(self, name: str, code: int = 0) -> str:
        """Run a step; what it printed."""
        step = self._steps[name]
        assert set(step) <= {"name", "id", "if", "shell", "env", "run"}
        assert step["shell"] == "bash"
        environment = {key: self._evaluated(value) for key, value in step.get("env", {}).items()}
        environment = {**os.environ, **environment, "GITHUB_STEP_SUMMARY": str(self.summary)}
        command = [*GITHUB_BASH, step["run"]]
        done = subprocess.run(command, cwd=self.workspace, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def _evaluated(self, text: str) -> str:
        return _EXPRESSION.sub(lambda match: self._values[match[1]], text)


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "test")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def temp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The runner's folder. What edgestyle needs is at hand there, so that nothing is downloaded."""
    packages = tmp_path_factory.mktemp("packages")
    for folder in (Path(entry) for entry in sys.path if Path(entry).name == "site-packages"):
        for path in folder.iterdir():
            if "edgestyle" not in path.name and not (packages / path.name).exists():
                (packages / path.name).symlink_to(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(packages))
        for name in ("NO_INDEX", "DISABLE_PIP_VERSION_CHECK"):
            patch.setenv(f"PIP_{name}", "1")
        patch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # pip's way to say that builds are not isolated
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))  # no browser
        yield tmp_path_factory.mktemp("runner")


@pytest.fixture
def job(tmp_path_factory: pytest.TempPathFactory, temp: Path) -> Job:
    """A job on a repository of edgestyle itself, in which the version and a network were changed."""
    tree = tmp_path_factory.mktemp("tree")
    for name in TREE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tree)
    git(tree, "init", "--quiet")
    trial.tiny_checkpoint(tree / "filters" / "tiny")
    package = tree / "edgestyle" / "__init__.py"
    text = package.read_text()
    package.write_text(re.sub(r'__version__ = ".*"', '__version__ = "0.0.1"', text))
    base = commit(tree)
    package.write_text(re.sub(r'__version__ = ".*"', '__version__ = "0.0.2"', text))
    slower(tree / "filters" / "tiny")
    shutil.copytree(tree / "filters" / "tiny", tree / "filters" / "new")
    commit(tree)
    job = Job(tree, temp, model="filters/tiny", size="64", base=base, source=".")
    job.run("Install edgestyle")
    return job


def test_from_a_proven_slowdown_to_the_comment(job: Job) -> None:
    """All in one test, because every step needs what those before it have made."""
    for name in ("Export", "Export the base", "Validate"):
        job.run(name)
    assert "slower than before" in job.run("Bench", code=1)
    job.run("Summarise")
    build = job.workspace / "build" / "edgestyle"
    manifests = [json.loads((build / side / "tiny-64.onnx.json").read_text()) for side in ("files", "base")]
    assert [manifest["contract"]["tools"]["edgestyle"] for manifest in manifests] == ["0.0.2", "0.0.1"]
    (comparison,) = json.loads((build / "report" / "latency" / "report.json").read_text())["comparisons"]
    assert comparison["interleaved"]
    assert json.loads((build / "report" / "quality" / "report.json").read_text())["passed"]
    outputs = {name: job.workspace / spec["value"] for name, spec in action()["outputs"].items()}
    assert all(path.exists() for path in outputs.values())
    comment = outputs["comment"].read_text()
    assert comment == job.summary.read_text()
    assert all(part in comment for part in ("# Latency", "# Validation", "❌"))

    # What is no slower than before passes.
    shutil.rmtree(build / "base")
    shutil.copytree(build / "files", build / "base")
    job.change(threshold="900")
    assert "no proven change" in job.run("Bench")

    # What the base does not have is compared with nothing.
    git(job.workspace, "worktree", "remove", "--force", str(job.temp / "edgestyle" / "base"))
    shutil.rmtree(build / "base")
    job.change(model="filters/new", source="")
    assert "::warning::The base has no such files" in job.run("Export the base")
    assert not (build / "base").exists()


def slower(folder: Path) -> None:
    """Put a network of many times the work into a checkpoint's folder."""
    import torch

    from edgestyle import checkpoint
    from edgestyle.feedforward import FeedForward, FeedForwardConfig
    from edgestyle.learned import deploy

    network = {"width": 64, "trunk_width": 64, "trunk_blocks": 6}
    config = checkpoint.read(folder).config.model_copy(update={"network": network})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = deploy(FeedForward(FeedForwardConfig(**network)))
    shutil.rmtree(folder)
    checkpoint.write(folder, config, net)


# What needs no job --------------------------------------------------------------------------------------------------


def test_every_script_of_the_action_is_run_by_a_test() -> None:
    run = {"Install edgestyle", "Export", "Export the base", "Validate", "Bench", "Summarise"}
    assert {step["name"] for step in action()["runs"]["steps"] if "run" in step} == run


def test_no_script_has_an_expression_in_it() -> None:
    """What somebody writes into a pull request must never become part of a script."""
    for step in action()["runs"]["steps"]:
        assert "${{" not in step.get("run", "")


def test_our_workflow_runs_goals_of_the_makefile() -> None:
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    scripts = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    assert scripts
    for script in scripts:
        assert re.fullmatch(r"make [a-z]+", script)
        subprocess.run([*script.split(), "--dry-run"], cwd=ROOT, capture_output=True, check=True)


def test_our_workflow_and_the_documentation_use_the_action_with_inputs_that_it_has() -> None:
    used = 0
    for text in [WORKFLOW.read_text(), *examples()]:
        steps = [step for job in yaml.safe_load(text)["jobs"].values() for step in job["steps"]]
        for step in steps:
            if ".github/actions/edgestyle" in step.get("uses", ""):
                used += 1
                assert set(step["with"]) <= set(action()["inputs"])
    assert used >= 2


@pytest.mark.parametrize("text", [WORKFLOW.read_text(), *examples()])
def test_workflows_pass_actionlint(text: str) -> None:
    done = subprocess.run(
        ["actionlint", "-no-color", "-"], cwd=ROOT, input=text, capture_output=True, text=True, env=tools(), check=False
    )
    assert done.stdout + done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize(
    "step", [step for step in action()["runs"]["steps"] if "run" in step], ids=lambda step: step["name"]
)
def test_scripts_pass_shellcheck(step: Step) -> None:
    script = f"set -eo pipefail\n{step['run']}"
    command = ["shellcheck", "--shell=bash", "-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, env=tools(), check=False)
    assert done.stdout == ""
    assert done.returncode == 0


def tools() -> dict[str, str]:
    """An environment with the linters that are installed beside this Python."""
    return {**os.environ, "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"}
