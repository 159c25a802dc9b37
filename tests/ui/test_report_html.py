"""The page of a run: complete, harmless, and whole in a browser on a telephone and on a desk."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from metalfoundry.model.events import CommandStarted, MachineSeen, Notice
from metalfoundry.records.recorded_run import RecordedRun, brief
from metalfoundry.records.run_state import told
from metalfoundry.records.run_store import KeptRun
from metalfoundry.ui.output.fleet_html import fleet_page
from metalfoundry.ui.output.report_html import page
from tests.ui.chromium import PROGRAM, Chromium
from tests.ui.tale import Tale, failed, provisioned

HOSTILE = """<script>fetch("http://192.0.2.1/")</script><img src=x onerror=alert(1)>'"&amp;"""
LONG = "x" * 3000
BARS = """[...document.querySelectorAll('.row')].filter(row => row.querySelector('.bar')).map(row => {
    const bar = row.querySelector('.bar').getBoundingClientRect()
    const track = row.querySelector('.track').getBoundingClientRect()
    const name = row.querySelector('.name').textContent
    return [name, (bar.left - track.left) / track.width, bar.width / track.width]
})"""
FACTS = {"os_name": "Debian 11", "hostname": "anvil", "boot_id": "b-1", "macs": ["00:00:5e:00:53:c0"]}
DIAGNOSIS = {
    "witnesses": {"verdict": "it has failed"},
    "findings": [
        {
            "id": "action-failed",
            "certainty": "certain",
            "what": f"write-netplan failed {HOSTILE}",
            "evidence": [{"source": f"action log {HOSTILE}", "line": HOSTILE + LONG}],
            "remedy": f"kubectl logs {HOSTILE}",
            "advice": HOSTILE,
            "exit_code": 31,
        }
    ],
}


def parts() -> list[RecordedRun]:
    """A run that failed, with hostile and overlong words wherever words come from outside; and one that took it up."""
    tale = failed(f"anvil{HOSTILE}", f"failed {HOSTILE}")
    tale.records[:1] = []
    tale.said(
        Notice(HOSTILE + LONG),
        MachineSeen(HOSTILE),
        CommandStarted(HOSTILE, f"sh -s <<'EOF'\n{HOSTILE}\n{LONG}\nEOF", "write"),
        CommandStarted("jump", LONG, "read"),
    )
    report = {
        "verdict": "failed",
        "exit_code": 31,
        "error": {"what": HOSTILE, "where": HOSTILE, "next": LONG, "evidence": f"{HOSTILE}\n{LONG}"},
        "netboot": {"closed": True, "proof": {"hardware": HOSTILE}},
        "machine": {"before": FACTS | {"host_key": HOSTILE}, "after": None},
        "diagnosis": DIAGNOSIS,
    }
    return [
        RecordedRun(told(tale.records), report),
        RecordedRun(told(provisioned().records), {"verdict": "provisioned"}),
    ]


def fleet_of(name: str = f"anvil{HOSTILE}") -> str:
    """The page of two servers, the second of which was begun when half of the first one's time was over."""
    late = provisioned()
    late.records = [replace(record, time=record.time + timedelta(seconds=150)) for record in late.records]
    runs = {name: part_of(failed(name, HOSTILE)), "anvil": part_of(late)}
    row = {"run": HOSTILE, "verdict": "failed", "exit_code": 31, "what": HOSTILE + LONG}
    report = {
        "run": HOSTILE,
        "verdict": "failed",
        "exit_code": 50,
        "seconds": 450.0,
        "servers": [row | {"server": name}, row | {"server": "anvil", "verdict": "provisioned", "what": ""}],
        "not_begun": [HOSTILE, LONG],
        "causes": [{"cause": HOSTILE + LONG, "next": HOSTILE, "servers": [name]}],
    }
    return fleet_page(KeptRun("20260102T030405Z-fleet.00c0ffee", Path(), report), runs)


def part_of(tale: Tale, **report: object) -> RecordedRun:
    return RecordedRun(told(tale.records), report)


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_whatever_was_read_is_text_and_never_markup() -> None:
    tags = Tags(page(parts()) + fleet_of())
    assert not tags.tags & {"script", "img", "iframe", "link", "object", "a"}
    assert not [name for name in tags.attributes if name.startswith("on") or name in ("src", "href")]


def test_it_holds_every_part_of_the_report() -> None:
    text = page([part_of(provisioned(), verdict="provisioned", machine={"before": FACTS, "after": FACTS})])
    for words in ("provisioned", "5:00", "1/2 stream-image", "1:30", "nothing old", "netboot open", "kubectl get"):
        assert words in text, words
    assert "new disk" in text and "before and after" in text and "Findings" not in text


def test_a_run_that_took_another_one_up_shows_both_in_order() -> None:
    text = page(parts())
    assert text.count("<article>") == 2
    assert text.index("Findings") < text.index("provisioned</span>")


def test_a_run_without_an_end_says_so() -> None:
    tale = Tale().did("Preflight", 2)
    assert "no end" in page([part_of(tale)])


def test_a_script_is_told_by_what_it_does() -> None:
    assert brief("reboot") == "reboot"
    assert brief("sh -s <<'EOF'\nmark=1\npart get kubectl get x </dev/null\npart put kubectl patch y <<'END'\nEOF") == (
        "kubectl get x; kubectl patch y"
    )
    assert brief("sh -s <<'EOF'\nMARKER=/x\n#!/bin/sh\n# What it says.\nEOF") == "sh: What it says."


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    if not PROGRAM:
        pytest.skip("no chromium: apt-get install chromium")
    with Chromium(tmp_path_factory.mktemp("chromium")) as chromium:
        yield chromium


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("made", [lambda: page(parts()), fleet_of], ids=["run", "fleet"])
def test_a_browser_shows_it_whole(
    browser: Chromium, tmp_path: Path, width: int, scheme: str, made: Callable[[], str]
) -> None:
    path = tmp_path / "report.html"
    path.write_text(made(), encoding="utf-8")
    browser.problems.clear()
    browser.requests.clear()
    browser.open(path, width, scheme=scheme)
    browser.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    wide = "[...document.querySelectorAll('body *')].filter(one => one.scrollWidth > one.clientWidth + 1)"
    shown = f"{wide}.filter(one => getComputedStyle(one).display != 'inline').map(one => one.outerHTML.slice(0, 80))"
    assert browser.evaluate(shown) == []
    drawn = browser.screenshot(tmp_path / "report.png")
    assert struct.unpack(">I", drawn[16:20]) == (width,)
    paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(15, 19, 24)")
    assert browser.problems == []
    assert browser.requests == [path.as_uri()]


def test_its_bars_stand_where_the_time_was(browser: Chromium, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page([part_of(provisioned(), verdict="provisioned")]), encoding="utf-8")
    browser.open(path, 1400)
    boxes = browser.evaluate(BARS)
    places = {name: (left, width) for name, left, width in boxes}
    assert places["Boot"] == pytest.approx((5 / 300, 90 / 300), abs=0.01)
    assert places["netboot open"] == pytest.approx((5 / 300, 91 / 300), abs=0.01)


def test_all_runs_of_a_fleet_stand_on_one_scale(browser: Chromium, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(fleet_of("bellows"), encoding="utf-8")
    browser.open(path, 1400)
    boxes = {name: (left, width) for name, left, width in browser.evaluate(BARS)}  # the first bar of each: Preflight
    assert boxes["bellows"][0] == pytest.approx(0.0, abs=0.01)
    assert boxes["anvil"][0] == pytest.approx(150 / 450, abs=0.01)


def test_it_prints(browser: Chromium, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(page(parts()), encoding="utf-8")
    browser.open(path, 1400)
    assert browser.pdf().startswith(b"%PDF")
