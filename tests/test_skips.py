"""What conftest.py promises: nothing is skipped in silence."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SKIPPING = """\
import pytest

def test_one():
    pytest.skip("no sshd here")

@pytest.mark.xfail(reason="known")
def test_two():
    raise ValueError
"""
SKIPPED_WHOLE = "import pytest\npytest.skip('no cluster here', allow_module_level=True)\n"


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(SKIPPING)
    (folder / "test_whole.py").write_text(SKIPPED_WHOLE)
    inherited = {name: value for name, value in os.environ.items() if name not in ("CI", "METALFOUNDRY_REQUIRE_REAL")}
    words = [sys.executable, "-m", "pytest", "-ra", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    words += ["--continue-on-collection-errors", f"--rootdir={folder}", str(folder)]
    return subprocess.run(
        words, cwd=REPOSITORY, env=inherited | environment, capture_output=True, text=True, timeout=60
    )


def test_fails_where_everything_is_required(tmp_path: Path) -> None:
    done = run(tmp_path, CI="true")
    assert "skipped, where nothing may be skipped: Skipped: no sshd here" in done.stdout
    assert "skipped, where nothing may be skipped: Skipped: no cluster here" in done.stdout
    assert "1 failed, 1 xfailed, 1 error" in done.stdout.splitlines()[-1]
    assert done.returncode == 1


def test_is_listed_with_its_reason_elsewhere(tmp_path: Path) -> None:
    done = run(tmp_path, CI="true", METALFOUNDRY_REQUIRE_REAL="0")
    assert re.search(r"SKIPPED \[1\] \S*test_it.py:4: no sshd here", done.stdout)
    assert re.search(r"SKIPPED \[1\] \S*test_whole.py:2: no cluster here", done.stdout)
    assert "2 skipped, 1 xfailed" in done.stdout.splitlines()[-1]
    assert done.returncode == 0
