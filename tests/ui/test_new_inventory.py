"""`fab inventory.new` writes its file whole, or leaves what was there."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from metalfoundry.model.errors import UsageError
from metalfoundry.ui.tasks.new_inventory import _write

WRITE = """
import sys
from pathlib import Path
from metalfoundry.model.errors import UsageError
from metalfoundry.ui.tasks.new_inventory import _write
try:
    _write(Path(sys.argv[1]), "site: {}")
except UsageError as error:
    sys.exit(error.what)
"""


def no_room() -> None:
    """From now on no file can grow, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def test_a_full_disk_leaves_the_inventory_that_was_there(tmp_path: Path) -> None:
    file = tmp_path / "inventory.yaml"
    file.write_text("mine")
    words = [sys.executable, "-B", "-c", WRITE, str(file)]
    done = subprocess.run(words, preexec_fn=no_room, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, f"{file} cannot be written: File too large\n")
    assert [each.name for each in tmp_path.iterdir()] == ["inventory.yaml"]
    assert file.read_text() == "mine"


def test_a_link_to_the_inventory_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_text("mine")
    link = tmp_path / "inventory.yaml"
    link.symlink_to("real.yaml")
    _write(link, "site: {}")
    assert link.is_symlink() and (tmp_path / "real.yaml").read_text() == "site: {}"


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        _write(tmp_path / "none" / "inventory.yaml", "site: {}")
