"""DECIDED: orders of verbs."""
