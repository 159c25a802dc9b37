"""JUDGED: pure; facts in, findings out."""
