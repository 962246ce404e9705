"""The app for Android: a Gradle project in Kotlin that paints the camera's picture and photos by LiteRT.

Its source is android/; models lie in the app's assets, what tests them in those of its tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgestyle.demo import Demo

from .projects import add_filter, copy_app

SOURCE = Path(__file__).parent / "android"
MODELS, GOLDEN = "app/src/main/assets/models", "app/src/androidTest/assets/models"
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
        f"open {folder} in Android Studio and press Run; or, with Gradle 9.4: cd {folder} && gradle installDebug",
        "gradle connectedAndroidTest there holds the app's own code on the phone against each model's golden bundle",
    ]


DEMO = Demo(
    name="android",
    title="the app for Android",
    targets=("tflite",),
    sizes=((512, 512),),
    write=write,
    next_steps=next_steps,
)
