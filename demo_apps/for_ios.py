"""The app for iOS: an Xcode project in Swift that paints the camera's picture and photos by Core ML.

Its source is ios/; Xcode takes into the app and its tests what lies in their folders, so models are just put there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgestyle.demo import Demo

from .projects import add_filter, copy_app

SOURCE = Path(__file__).parent / "ios"
MODELS, GOLDEN = "EdgeStyleDemo/Models", "EdgeStyleDemoTests/Golden"
"""Where models lie in the project, and what tests them."""


def write(folder: Path, files: Sequence[Path]) -> None:
    """Write the project into an empty folder, with exported files.

    Raises:
        UsageError: A network takes its style as a second input.
        ConfigError: Something that belongs to a file is missing.
    """
    copy_app(SOURCE, folder)
    for file in files:
        add_filter(file, folder / MODELS, folder / GOLDEN)


def next_steps(folder: Path) -> list[str]:
    """How to run it."""
    return [
        f"open {folder}/EdgeStyleDemo.xcodeproj    # on a Mac; choose your team under Signing, press Run",
        "Command-U there holds the app's own code on the device against each model's golden bundle",
    ]


DEMO = Demo(
    name="ios",
    title="the app for iOS",
    targets=("coreml",),
    sizes=((512, 512),),
    write=write,
    next_steps=next_steps,
)
