"""A real one-node Kubernetes whose pods run, and a transport that takes this computer for its jump host."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metalfoundry.commands.command import Command
from metalfoundry.model.hosts import Host
from metalfoundry.transport.base import Result
from metalfoundry.transport.clock import Deadline
from tests.fakes import Unwatched
from tests.real.api import ApiClient, HttpStore

TOOLS = ("containerd", "containerd-shim-runc-v2", "ctr", "runc", "ip", "unshare", "nsenter", "openssl")
PLUGINS = tuple(f"/usr/lib/cni/{name}" for name in ("bridge", "host-local", "loopback"))
SMALL = "sh awk cat cut date find grep head id ln ls mkdir mv ps rm sed sleep tail timeout touch tr uname sort"


class NodeError(Exception):
    """It did not start; the text says why."""


def missing(programs: Path) -> str:
    """What this computer lacks for a node; "" where it has everything."""
    if not os.access(programs / "node", os.X_OK):
        return f"no {programs / 'node'}"
    if os.geteuid():
        return "a node needs root"
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    lacking = [tool for tool in (*TOOLS, *PLUGINS) if not shutil.which(tool, path=path)]
    packages = "containerd runc containernetworking-plugins iproute2 openssl"
    return f"no {', '.join(lacking)}: apt-get install {packages}" if lacking else ""


class Node:
    """One that runs in `folder`; `programs` is where `node`, `make-image` and kubectl are."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder = programs, folder
        self.kubeconfig = folder / "admin.kubeconfig"
        self.env = os.environ | {
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{folder}/bin:{os.environ['PATH']}:/usr/sbin:/sbin",
            "HOME": str(folder),
        }

    def call(self, *words: str) -> None:
        """Call `node`; raises NodeError with what it said."""
        done = subprocess.run(
            [self.programs / "node", *words], text=True, capture_output=True, env=self.env, check=False
        )
        if done.returncode:
            raise NodeError(f"node {' '.join(words)}: {done.stdout}{done.stderr}")

    def pack(self, image: str, folder: Path) -> Path:
        """An archive of an image with a shell, small tools and kubectl."""
        busybox = shutil.which("busybox") or "/bin/busybox"
        (folder / "bin").mkdir(parents=True)
        for tool in SMALL.split():
            (folder / "bin" / tool).symlink_to(busybox)
        shutil.copy(self.programs / "kube", folder / "bin" / "kubectl")
        archive = folder.with_suffix(".tar")
        words = [str(self.programs / "make-image"), str(folder), image, str(archive), "--host", busybox]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        return archive

    def kill(self, part: str) -> None:
        """Kill a part; it is started again after a second. (Asked to end, an API server may wait a minute for its
        connections.)
        """
        first = json.loads((self.folder / "node.json").read_text())["pid"]
        inside = [f"--mount=/proc/{first}/ns/mnt", f"--pid=/proc/{first}/ns/pid_for_children"]
        words = ["nsenter", *inside, "kill", "-KILL", (self.folder / f"pid.{part}").read_text()]
        subprocess.run(words, check=True, env=self.env)

    def kubectl(self, *words: str, given: str = "", fails: bool = False) -> str:
        """What kubectl says to the administrator; with `fails`, what it complains of."""
        done = subprocess.run(
            [self.folder / "bin" / "kubectl", *words], input=given, text=True, capture_output=True, env=self.env,
            check=False, timeout=60,
        )  # fmt: skip
        assert (done.returncode != 0) == fails, (words, done.stdout, done.stderr)
        return done.stderr if fails else done.stdout

    def client(self) -> ApiClient:
        """Requests as somebody who may do everything."""
        binding = ("--clusterrole=cluster-admin", "--serviceaccount=default:default")
        self.kubectl("create", "clusterrolebinding", "tests", *binding)
        token = self.kubectl("create", "token", "default", "--duration=2h").strip()
        server = self.kubectl("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}")
        return ApiClient(server, ca=self.folder / "pki" / "ca.crt", token=token)

    def store(self, client: ApiClient, namespace: str) -> HttpStore:
        """A Store in a new namespace that admits nothing but restricted pods."""
        self.kubectl("create", "namespace", namespace)
        self.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
        return HttpStore(client, namespace)


@contextmanager
def running(programs: Path) -> Iterator[Node]:
    """A node, until the end of the block; in memory where there is room for it. Raises NodeError."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="metalfoundry-node-", dir=memory) as folder:
        node = Node(programs, Path(folder) / "node")
        archive = node.pack(IMAGE, Path(folder) / "image")
        node.call("up", str(node.folder), "--ttl", "3600", "--image", str(archive))
        archive.unlink()
        try:
            yield node
        finally:
            node.call("down", str(node.folder))


IMAGE = "example.test/guard:1"


class Here(Unwatched):
    """A Transport whose every host is this computer, with kubectl as the node has it."""

    def __init__(self, node: Node, kubeconfig: Path | None = None) -> None:
        self._env = node.env | ({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})

    def run(self, host: Host, command: Command, deadline: Deadline) -> Result:
        begun = time.monotonic()
        done = subprocess.run(
            ["sh", "-c", command.line], input=command.stdin, text=True, capture_output=True, env=self._env,
            check=False, timeout=deadline.remaining(),
        )  # fmt: skip
        return Result(done.returncode, done.stdout, done.stderr, time.monotonic() - begun)
