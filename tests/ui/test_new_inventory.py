"""`fab inventory.new` writes its file whole, or leaves what was there."""

from __future__ import annotations

import os
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


def test_a_file_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "inventory.yaml"
    file.write_text("mine")
    file.chmod(0o640)
    _write(file, "site: {}")
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("site: {}", 0o640)


def test_what_is_no_file_is_written_and_stays_what_it_is(tmp_path: Path) -> None:
    """Such as /dev/null, which a file in its place would spoil for everybody."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        _write(fifo, "site: {}")
        assert (os.read(reader, 100), fifo.is_fifo()) == (b"site: {}", True)
    finally:
        os.close(reader)
    assert [each.name for each in tmp_path.iterdir()] == ["fifo"]
