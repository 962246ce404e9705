"""The zoo: a folder a network, each with weights.safetensors, config.json, card.md and measured.json."""

from pathlib import Path


def folder() -> Path:
    """Where the zoo's networks are."""
    return Path(__file__).parent
