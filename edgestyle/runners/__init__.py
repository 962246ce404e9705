"""Delegates, one file each."""
