"""Turn a painting into a style filter that runs on a phone, and prove that it still looks right there."""

__version__ = "0.1.0"
