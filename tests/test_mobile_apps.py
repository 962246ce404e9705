"""The apps for iOS and Android, as far as a machine without Xcode and the Android SDK can tell.

Every file parses, the projects are whole, and what the code names is there. What needs no phone, the pre-processing, is
compiled by the languages' own compilers where they are installed, and held against a golden bundle.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import openstep_parser
import pytest
import tree_sitter
import tree_sitter_kotlin
import tree_sitter_swift

from edgestyle import checkpoint, exporting, golden, images, registry
from edgestyle.cli import main
from edgestyle.errors import UsageError
from edgestyle.files import sha256
from edgestyle.manifest import manifest_path, read_manifest

ROOT = Path(__file__).parents[1]
ZOO = [folder.name for folder in checkpoint.zoo_folders()]
FILTERS = [
    name
    for found in checkpoint.zoo()
    for name in (
        [f"{found.name}-{style.name}" for style in found.config.styles]
        if len(found.config.styles) > 1
        else ["adain-painting" if found.name == "adain" else found.name]
    )
]
"""The files of the zoo's networks: of several paintings one each, of any painting with one folded in."""
IOS, ANDROID = ROOT / "demo_apps" / "ios", ROOT / "demo_apps" / "android"
ASSETS = "app/src/main/assets/models"
KOTLIN = ROOT / "build" / "kotlin" / "node_modules" / "kotlin-compiler"
"""Where `make kotlin` puts the compiler."""
LANGUAGES = {
    ".kt": tree_sitter_kotlin.language(),
    ".kts": tree_sitter_kotlin.language(),
    ".swift": tree_sitter_swift.language(),
}
SOURCES = sorted(path for app in (IOS, ANDROID) for path in app.rglob("*") if path.suffix in LANGUAGES)
XML = sorted(path for app in (IOS, ANDROID) for path in app.rglob("*") if path.suffix in (".xml", ".xcscheme"))
ANDROID_NAME = "{http://schemas.android.com/apk/res/android}name"


def relative(path: Path) -> str:
    return path.relative_to(ROOT / "demo_apps").as_posix()


def text(files: Sequence[Path]) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


# Every file parses --------------------------------------------------------------------------------------------------


def faults(node: tree_sitter.Node) -> Iterator[str]:
    if node.is_error or node.is_missing:
        yield f"line {node.start_point.row + 1}"
    for child in node.children:
        yield from faults(child)


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_source_parses(path: Path) -> None:
    parser = tree_sitter.Parser(tree_sitter.Language(LANGUAGES[path.suffix]))
    assert list(faults(parser.parse(path.read_bytes()).root_node)) == []


def test_the_parser_finds_a_fault() -> None:
    for suffix, source in ((".kt", b"fun f( {"), (".swift", b"func f( {")):
        parser = tree_sitter.Parser(tree_sitter.Language(LANGUAGES[suffix]))
        assert list(faults(parser.parse(source).root_node))


@pytest.mark.parametrize("path", XML, ids=relative)
def test_xml_parses(path: Path) -> None:
    ElementTree.fromstring(path.read_bytes())  # noqa: S314  # our own


# Android: what the code names is there ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kotlin() -> str:
    return text([path for path in SOURCES if path.suffix == ".kt"])


def test_every_text_is_there_and_used(kotlin: str) -> None:
    strings = ElementTree.parse(ANDROID / "app/src/main/res/values/strings.xml")  # noqa: S314
    there = {element.attrib["name"] for element in strings.getroot()}
    manifest = (ANDROID / "app/src/main/AndroidManifest.xml").read_text(encoding="utf-8")
    named = set(re.findall(r"R\.string\.(\w+)", kotlin)) | set(re.findall(r"@string/(\w+)", manifest))
    assert there == named
    resources = ANDROID / "app/src/main/res"
    assert {*re.findall(r"@drawable/(\w+)", manifest)} == {path.stem for path in (resources / "drawable").iterdir()}
    themes = ElementTree.parse(resources / "values/themes.xml")  # noqa: S314
    assert {*re.findall(r"@style/([\w.]+)", manifest)} == {element.attrib["name"] for element in themes.getroot()}


def test_every_activity_is_a_class(kotlin: str) -> None:
    manifest = ElementTree.parse(ANDROID / "app/src/main/AndroidManifest.xml")  # noqa: S314
    activities = [element.attrib[ANDROID_NAME] for element in manifest.iter("activity")]
    assert activities == [".MainActivity"]
    assert "class MainActivity" in kotlin


def test_the_catalog_holds_what_gradle_names_and_nothing_else() -> None:
    catalog = tomllib.loads((ANDROID / "gradle/libs.versions.toml").read_text(encoding="utf-8"))
    scripts = text([path for path in SOURCES if path.suffix == ".kts"])
    named = {name.removesuffix(".get") for name in re.findall(r"libs\.([\w.]+)", scripts)}
    libraries = {name.replace("-", ".") for name in catalog["libraries"]}
    assert named == libraries | {f"plugins.{name.replace('-', '.')}" for name in catalog["plugins"]}
    entries = [*catalog["libraries"].values(), *catalog["plugins"].values()]
    assert {entry["version"]["ref"] for entry in entries if "version" in entry} == set(catalog["versions"])


def test_each_kotlin_file_says_its_package_and_the_app_has_its_name(kotlin: str) -> None:
    for path in SOURCES:
        if path.suffix == ".kt":
            assert path.read_text(encoding="utf-8").startswith("package org.edgestyle.demo\n")
    assert 'namespace = "org.edgestyle.demo"' in (ANDROID / "app/build.gradle.kts").read_text(encoding="utf-8")


# iOS: the project is whole ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    with (IOS / "EdgeStyleDemo.xcodeproj/project.pbxproj").open(encoding="utf-8") as file:
        parsed: dict[str, Any] = openstep_parser.OpenStepDecoder.ParseFromFile(file)
    return parsed


def identifiers(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from (key, *identifiers(part))
    elif isinstance(value, list):
        for part in value:
            yield from identifiers(part)
    elif isinstance(value, str):
        yield value


def test_every_object_of_the_project_is_there_and_used(project: dict[str, Any]) -> None:
    objects = project["objects"]
    named = {project["rootObject"], *(one for part in objects.values() for one in identifiers(part))}
    assert {one for one in named if re.fullmatch("ED6E57A1[0-9A-F]{16}", one)} == set(objects)
    assert all("isa" in part for part in objects.values())
    scheme = (IOS / "EdgeStyleDemo.xcodeproj/xcshareddata/xcschemes/EdgeStyleDemo.xcscheme").read_text(encoding="utf-8")
    targets = {key for key, part in objects.items() if part["isa"] == "PBXNativeTarget"}
    assert {*re.findall('BlueprintIdentifier = "(.*?)"', scheme)} == targets


def test_targets_take_folders_that_are_there(project: dict[str, Any]) -> None:
    objects = project["objects"]
    targets = [part for part in objects.values() if part["isa"] == "PBXNativeTarget"]
    assert {target["name"] for target in targets} == {"EdgeStyleDemo", "EdgeStyleDemoTests"}
    for target in targets:
        (group,) = target["fileSystemSynchronizedGroups"]
        assert objects[group]["path"] == target["name"]
        assert list((IOS / target["name"]).glob("*.swift"))


def test_the_app_says_why_it_wants_what_it_asks_for(project: dict[str, Any]) -> None:
    settings = [part["buildSettings"] for part in project["objects"].values() if part["isa"] == "XCBuildConfiguration"]
    apps = [each for each in settings if each.get("PRODUCT_BUNDLE_IDENTIFIER") == "org.edgestyle.demo"]
    assert len(apps) == 2
    for each in apps:
        assert each["INFOPLIST_KEY_NSCameraUsageDescription"]
        assert each["INFOPLIST_KEY_NSPhotoLibraryAddUsageDescription"]


# Generated projects -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both projects with every network of the zoo, as the command line writes them."""
    folder = tmp_path_factory.mktemp("apps")
    models = [part for name in ZOO for part in ("--model", name)]
    images.write(folder / "painting.png", images.sample_photos()["coffee"])
    common = ["--size", "64", "--exported", str(folder / "exported"), "--style", str(folder / "painting.png")]
    for platform in ("ios", "android"):
        assert main(["demo", platform, *models, *common, "--out", str(folder / platform)]) == 0
    return {platform: folder / platform for platform in ("ios", "android")}


PLACES = {
    "ios": (IOS, "EdgeStyleDemo/Models", "EdgeStyleDemoTests/Golden", ".mlpackage"),
    "android": (ANDROID, ASSETS, "app/src/androidTest/assets/models", ".tflite"),
}


@pytest.mark.parametrize("platform", PLACES)
def test_a_generated_project_is_complete(projects: dict[str, Path], platform: str) -> None:
    source, models, bundle, suffix = PLACES[platform]
    project = projects[platform]
    for path in source.rglob("*"):
        if path.is_file():
            assert (project / path.relative_to(source)).read_bytes() == path.read_bytes()
    for name in FILTERS:
        file = project / models / f"{name}-64{suffix}"
        manifest = read_manifest(file)
        assert manifest is not None
        assert sha256(file) == manifest.sha256
        for part in manifest.golden.files:
            assert sha256(project / bundle / part.name) == part.sha256


@pytest.mark.parametrize("platform", PLACES)
def test_the_code_reads_keys_that_manifests_have(projects: dict[str, Path], platform: str, kotlin: str) -> None:
    _, models, _, suffix = PLACES[platform]
    for path in (projects[platform] / models).glob(f"*{suffix}.json"):
        there = set(identifiers(json.loads(path.read_text(encoding="utf-8"))))
        assert "fit-pad-reflect" in there
        if platform == "android":
            named = {*re.findall(r'\bget\w+\("(\w+)"\)', kotlin)} | {*re.findall(r'\bfile\("(\w+)"\)', kotlin)}
        else:
            decoded = (IOS / "EdgeStyleDemo/Manifest.swift").read_text(encoding="utf-8")
            camel = re.findall(r"^ +let (\w+): ", decoded, re.MULTILINE)
            named = {re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower() for name in camel}
        assert named >= {"contract", "file", "golden", "size", "photo", "tensor", "window", "max_error", "min_psnr_db"}
        assert named <= there


@pytest.mark.parametrize("platform", PLACES)
def test_the_app_can_call_the_files_that_it_is_given(projects: dict[str, Path], platform: str) -> None:
    _, models, _, suffix = PLACES[platform]
    for file in (projects[platform] / models).glob(f"*{suffix}"):
        manifest = read_manifest(file)
        assert manifest is not None
        contract = manifest.contract
        assert contract.resize == "fit-pad-reflect"
        assert contract.styles
        assert contract.input.kind == ("image" if platform == "ios" else "tensor")
        assert contract.input.layout == "NHWC" or platform == "ios"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ios", "--model", "great_wave"], "the app for iOS needs --out FOLDER"),
        (["ios", "--model", "great_wave", "--size", "dynamic", "--out", "new"], "runs files of a fixed size"),
        (["andriod", "--model", "great_wave", "--out", "new"], "did you mean android"),
        (["android", "--model", "x.onnx", "--out", "new"], "x.onnx"),
        (["android", "--model", "great_wave", "--out", "."], "is not empty"),
    ],
)
def test_a_wrong_request_is_refused_before_any_work(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text("mine")
    code = main(["demo", *arguments])
    said = capsys.readouterr().err
    assert (code, said.count("\n")) == (2, 1)
    assert message in said
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("platform", PLACES)
def test_a_file_without_its_golden_bundle_is_told_and_nothing_is_written(
    projects: dict[str, Path], platform: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, models, _, suffix = PLACES[platform]
    name = f"{FILTERS[0]}-64{suffix}"
    copied = tmp_path / "copied"
    shutil.copytree(projects[platform] / models, copied)
    assert main(["demo", platform, "--model", str(copied / name), "--out", str(tmp_path / "new")]) == 2
    assert "golden-photo.jpg is missing; export it again" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("platform", PLACES)
def test_networks_that_take_their_style_as_an_input_are_refused(
    projects: dict[str, Path], platform: str, tmp_path: Path
) -> None:
    _, models, bundle, suffix = PLACES[platform]
    for folder in (models, bundle):
        shutil.copytree(projects[platform] / folder, tmp_path / "files", dirs_exist_ok=True)
    file = tmp_path / "files" / f"{FILTERS[0]}-64{suffix}"
    manifest = json.loads(manifest_path(file).read_text(encoding="utf-8"))
    manifest["contract"]["role"] = "transformer"
    manifest_path(file).write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(UsageError, match="takes its style as a second input"):
        registry.load(registry.DEMOS, platform).write(tmp_path / "app", [file])


# The pre-processing, compiled ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Arguments for the checks in tests/kotlin and tests/swift: scaled down, scaled up, and upright."""
    folder = tmp_path_factory.mktemp("bundles")
    arguments = []
    for size in ((64, 96), (512, 256), (704, 704)):
        made = golden.write(folder, exporting.size_text(size), lambda picture: picture, size, 8, 40)
        photo = images.to_uint8(images.read(folder / made.photo.name))
        pixels = folder / f"{made.photo.name}.rgb"
        photo.tofile(pixels)
        height, width = photo.shape[:2]
        tensor = folder / made.tensor.name
        arguments.append([str(width), str(height), str(pixels), *map(str, size), str(tensor), *map(str, made.window)])
    return arguments


def check(command: Sequence[str | Path], bundles: list[list[str]]) -> None:
    """The program's tensor is Python's, to within rounding; its window too; and 8 bits cost it half a step."""
    for bundle in bundles:
        run = subprocess.run([*command, *bundle[:6]], capture_output=True, text=True, timeout=600)
        assert run.returncode == 0, run.stderr
        error, window, rounding = run.stdout.splitlines()
        assert float(error) <= 1e-5
        assert window.split() == bundle[6:]
        assert float(rounding) <= 0.5001 / 255


def kotlin_compiler() -> list[str]:
    """The command that compiles Kotlin.

    Skips the test where there is none.
    """
    if shutil.which("java") is None:
        pytest.skip("Kotlin is not compiled: needs Java")
    if found := shutil.which("kotlinc"):
        return [found]
    if (KOTLIN / "bin" / "kotlinc").is_file():
        return ["bash", str(KOTLIN / "bin" / "kotlinc")]
    pytest.skip("Kotlin is not compiled: needs kotlinc, which 'make kotlin' installs")


def test_kotlin_prepares_photos_as_python_does(bundles: list[list[str]], tmp_path: Path) -> None:
    compiler = kotlin_compiler()
    app = ANDROID / "app/src/main/kotlin/org/edgestyle/demo"
    sources = [app / "Picture.kt", app / "Prepare.kt", ROOT / "tests/kotlin/GoldenCheck.kt"]
    jar = tmp_path / "check.jar"
    run = subprocess.run(
        [*compiler, *sources, "-include-runtime", "-d", jar], capture_output=True, text=True, timeout=900
    )
    assert run.returncode == 0, run.stderr
    assert not re.findall(r".*\.kt:\d+:\d+: warning:.*", run.stderr)
    check(["java", "-jar", jar], bundles)


def test_swift_prepares_photos_as_python_does(bundles: list[list[str]], tmp_path: Path) -> None:
    compiler = shutil.which("swiftc")
    if compiler is None:
        pytest.skip("Swift is not compiled: needs swiftc")
    app = IOS / "EdgeStyleDemo"
    sources = [app / "Picture.swift", app / "Prepare.swift", ROOT / "tests/swift/main.swift"]
    program = tmp_path / "check"
    run = subprocess.run([compiler, "-O", *sources, "-o", program], capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stderr
    check([program], bundles)
