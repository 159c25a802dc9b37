"""Runs kept on disk: written as they happen, read back as what happened."""
