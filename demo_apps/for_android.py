"""The app for Android: a Gradle project in Kotlin that paints the camera's picture and photos by LiteRT.

Its source is android/; models lie in the app's assets, what tests them in those of its tests.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from edgestyle.demo import Demo

from .projects import write_app


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
    write=partial(
        write_app,
        source=Path(__file__).parent / "android",
        models="app/src/main/assets/models",
        golden="app/src/androidTest/assets/models",
    ),
    next_steps=next_steps,
)
