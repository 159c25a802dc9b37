"""The longest files are begun first, so that no worker is left alone with one at the end.

Where everything is required (realtier.required), a skip is a failure; elsewhere `-ra` lists it with its reason.
"""

from __future__ import annotations

import signal
from collections.abc import Generator

import pytest
from hypothesis import settings

from tests.realtier import kube, required

__all__ = ["kube"]

LONGEST = ("faults", "fuzz", "lab", "real", "contract", "properties", "guard")  # folders, the longest first


settings.register_profile("same-every-time", derandomize=True, database=None)
settings.load_profile("same-every-time")


def pytest_configure() -> None:
    """A shell ignores SIGINT for what it starts with `&`, nohup SIGHUP; our programs leave alone what is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order that `--no-loadscope-reorder` keeps."""

    def rank(item: pytest.Item) -> int:
        folder = item.path.parent.name
        return LONGEST.index(folder) if folder in LONGEST else len(LONGEST)

    items.sort(key=rank)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not hasattr(report, "wasxfail"):
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and required():
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"skipped, where nothing may be skipped: {why}"
