"""The app for iOS: an Xcode project in Swift that paints the camera's picture and photos by Core ML.

Its source is ios/; Xcode takes into the app and its tests what lies in their folders, so models are just put there.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from edgestyle.demo import Demo

from .projects import write_app


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
    write=partial(
        write_app,
        source=Path(__file__).parent / "ios",
        models="EdgeStyleDemo/Models",
        golden="EdgeStyleDemoTests/Golden",
    ),
    next_steps=next_steps,
)
