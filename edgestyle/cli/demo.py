"""`edgestyle demo`: networks in an app for people's hands."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgestyle.cli import output
from edgestyle.cli.export import parse_size

if TYPE_CHECKING:
    from edgestyle.demo import Demo

EPILOG = """\
examples:
  edgestyle demo web --model great_wave                      # serves the app on this machine
  edgestyle demo web --model great_wave --lan                # to phones too: scan the code
  edgestyle demo web --model great_wave --out site           # a static site, for any server
  edgestyle demo web --model build/great_wave-512-int8.onnx  # a file that you exported
  edgestyle demo ios --model great_wave --out MyFilter       # an Xcode project with the model in it
  edgestyle demo android --model great_wave --out MyFilter   # an Android Studio project
  edgestyle demo web --model adain                           # any picture as the style, on the page
  edgestyle demo ios --model adain --style a.jpg --style b.jpg --out MyFilters    # two filters, painted by these

Files that the app needs are exported, verified as always, unless --exported holds them already. The app reads their
manifests: what a picture has to look like, and which file goes with which engine. docs/demo_apps.md tells more.
"""


def add(subparsers: Any) -> None:
    """Add the command's parser."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "demo",
        help="networks in an app: in a browser, for iOS, for Android",
        description="Put networks into an app: serve it to browsers, or write a project or site into a folder.",
        epilog=EPILOG,
    )
    parser.add_argument("platform", metavar="PLATFORM", help="web, ios or android")
    parser.add_argument(
        "--model",
        action="append",
        required=True,
        metavar="NAME|FOLDER|FILE",
        help="a zoo name, a checkpoint folder or an exported file with its manifest; may be given several times",
    )
    parser.add_argument(
        "--style",
        type=Path,
        action="append",
        default=[],
        metavar="PAINTING",
        help="with a network that paints by any painting: a filter of this one; may be given again. "
        "Phones' apps need it, the page in a browser takes any picture as it is",
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write the app there, into a new folder")
    parser.add_argument(
        "--size", nargs="+", metavar="SIZE", help="pixels of files to export: 512, 768x512 (width x height), dynamic"
    )
    parser.add_argument("--quantize", metavar="SCHEME", help="number format of files to export, such as fp16 or int8")
    parser.add_argument(
        "--exported",
        type=Path,
        default=Path("build"),
        metavar="FOLDER",
        help="where exported files are, and are put; default: build",
    )
    parser.add_argument("--lan", action="store_true", help="serve to the local network, not to this machine alone")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="to serve on; default: any that is free")
    parser.add_argument("--json", action="store_true", help="with --out: print one JSON object on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the app, or serve it until Ctrl-C."""
    from edgestyle import demo, registry

    app: Demo = registry.load(registry.DEMOS, args.platform)
    _check(args, app)
    sizes = [parse_size(size) for size in args.size] if args.size else list(app.sizes)
    files = demo.gather(app, args.model, sizes, args.quantize, args.exported, output.progress, output.note, args.style)
    if args.out is None:
        _serve(app, files, args)
        return 0
    _write(app, files, args.out)
    if args.json:
        output.print_json({"demo": app.name, "path": str(args.out), "files": [file.name for file in files]})
        return 0
    output.say(f"{args.out}  {app.title}, with {', '.join(file.name for file in files)}\n\nnext:")
    for step in app.next_steps(args.out):
        output.say(f"  {step}")
    return 0


def _check(args: argparse.Namespace, app: Demo) -> None:
    """Refuse a request before any long work.

    Raises:
        UsageError: The folder is not new, or this app cannot be served.
    """
    from edgestyle.errors import UsageError

    if args.out is None and app.serve is None:
        raise UsageError(f"{app.title} needs --out FOLDER: a new folder, where its project is written")
    if args.out is None and args.json:
        raise UsageError("--json goes with --out FOLDER; without it the app is served until Ctrl-C")
    if args.out is not None and (args.lan or args.port):
        raise UsageError("--lan and --port are for serving; leave out --out, or leave out these")
    if args.out is not None and args.out.exists() and not (args.out.is_dir() and not any(args.out.iterdir())):
        raise UsageError(f"{args.out} is not empty; name a new folder, so that nothing of yours is overwritten")


def _write(app: Demo, files: list[Path], out: Path) -> None:
    from edgestyle.files import staged

    with staged(out.absolute()) as folder, output.progress(f"writing {app.title} into {out}"):
        (folder / out.name).mkdir()
        app.write(folder / out.name, files)


def _serve(app: Demo, files: list[Path], args: argparse.Namespace) -> None:
    """Serve the app from a temporary folder until Ctrl-C."""
    import tempfile

    assert app.serve is not None  # noqa: S101  # for the type checker: `_check` has refused it
    with tempfile.TemporaryDirectory(prefix="edgestyle-") as name:
        app.write(Path(name), files)
        with app.serve(Path(name), args.lan, args.port) as url:
            _show(url, lan=args.lan)
            threading.Event().wait()


def _show(url: str, *, lan: bool) -> None:
    from edgestyle.browser.measuring import qr

    if lan:
        output.note(qr(url))
        output.note("Phones warn of the certificate, which was made just now, once: continue to the page.")
    output.say(f"{url}\nopen it in a browser, and keep this command running; Ctrl-C ends it")
