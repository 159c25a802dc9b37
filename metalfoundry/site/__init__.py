"""DONE: one verb at one place."""
