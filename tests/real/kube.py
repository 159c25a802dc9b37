"""A real etcd and kube-apiserver on loopback: no controllers, no scheduler, no kubelet."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import asyncssh
import yaml

from metalfoundry.lab.kubernetes.store import AlreadyExists, StoreError
from tests.real.api import ApiClient, HttpStore

ADMIN = "admin"
PROGRAMS = ("etcd", "kube-apiserver")
_CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_RBAC_PATH = "/apis/rbac.authorization.k8s.io/v1"


class KubeError(Exception):
    """The programs are missing or did not start; the text holds the end of their log."""


def find_assets(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The folder that KUBEBUILDER_ASSETS names, when it holds etcd and kube-apiserver."""
    named = environ.get("KUBEBUILDER_ASSETS", "")
    return Path(named) if named and all(os.access(Path(named) / each, os.X_OK) for each in PROGRAMS) else None


class Kube:
    """One API server with its etcd, in `folder`, from `start` to `stop`; usable as a context manager.

    `users` are the names that get a bearer token each; ADMIN is always one of them and may do everything, the others
    may do nothing until `grant`.
    """

    def __init__(self, assets: Path, folder: Path, users: Iterable[str] = ()) -> None:
        self.assets = assets
        self.folder = folder
        self.tokens = {name: secrets.token_hex(16) for name in (ADMIN, *users)}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._clients: list[ApiClient] = []
        self._port = 0

    @property
    def server(self) -> str:
        """The API server's address."""
        return f"https://127.0.0.1:{self._port}"

    @property
    def ca(self) -> Path:
        """The file to verify the API server by."""
        return self.folder / "certs" / "apiserver.crt"

    def start(self, seconds: float = 60.0) -> Kube:
        """Start both programs and wait until the API server is ready; raises KubeError after `seconds`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        etcd, peer, self._port = _free_ports(3)
        self._write_secrets()
        try:
            self._spawn("etcd", _etcd_options(self.folder, etcd, peer))
            self._spawn("kube-apiserver", _apiserver_options(self.folder, etcd, self._port))
            self._wait_ready(time.monotonic() + seconds)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End both programs; what they stored is meant to be thrown away."""
        for client in self._clients:
            client.close()
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        self._processes.clear()

    def __enter__(self) -> Kube:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def client(self, user: str = ADMIN, token: str = "") -> ApiClient:
        """Requests as `user`, or as whoever `token` belongs to."""
        client = ApiClient(self.server, ca=self.ca, token=token or self.tokens[user])
        self._clients.append(client)
        return client

    def store(self, namespace: str = "tink-system", user: str = ADMIN) -> HttpStore:
        """A Store in a namespace, which is made where it does not exist."""
        self.make_namespace(namespace)
        return HttpStore(self.client(user), namespace)

    def make_namespace(self, name: str) -> None:
        """Make a namespace; nothing happens where it exists."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        self._create("/api/v1/namespaces", body)

    def kubeconfig(self, path: Path, user: str = ADMIN, namespace: str = "default", token: str = "") -> Path:
        """Write a kubeconfig for `user`, or for whoever `token` belongs to; returns its path."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": {"server": self.server, "certificate-authority": str(self.ca)}}],
            "users": [{"name": user, "user": {"token": token or self.tokens[user]}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user, "namespace": namespace}}],
            "current-context": "lab",
        }
        path.write_text(json.dumps(config, indent=1))
        path.chmod(0o600)
        return path

    def apply_crds(self, folder: Path, seconds: float = 30.0) -> None:
        """Make or replace every CustomResourceDefinition in `folder` and wait until all are served."""
        client, paths = self.client(), []
        for file in sorted(folder.glob("*.yaml")):
            crd = yaml.safe_load(file.read_text())
            self._put(client, _CRD_PATH, crd)
            spec = crd["spec"]
            paths.append(f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}")
        end = time.monotonic() + seconds
        for path in paths:
            while not _served(client, path):
                if time.monotonic() > end:
                    raise KubeError(f"{path} is not served")
                time.sleep(0.02)

    def grant(self, namespace: str, user: str, rules: list[dict[str, list[str]]], *, service_account: str = "") -> None:
        """Let `user` (or a ServiceAccount of the namespace) do what RBAC `rules` say, by a Role and a RoleBinding."""
        name, base = f"lab-{service_account or user}", f"{_RBAC_PATH}/namespaces/{namespace}"
        subject: dict[str, str] = {"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}
        if service_account:
            subject = {"kind": "ServiceAccount", "name": service_account, "namespace": namespace}
        meta = {"name": name, "namespace": namespace}
        api = {"apiVersion": "rbac.authorization.k8s.io/v1"}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        self._put(self.client(), f"{base}/roles", api | {"kind": "Role", "metadata": meta, "rules": rules})
        binding = api | {"kind": "RoleBinding", "metadata": meta, "subjects": [subject], "roleRef": reference}
        self._put(self.client(), f"{base}/rolebindings", binding)

    def service_account_token(self, namespace: str, name: str) -> str:
        """A bearer token of a ServiceAccount that exists; raises NotFound."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        return str(self.client().request("POST", path, body)["status"]["token"])

    def _create(self, path: str, body: Any) -> bool:
        try:
            self.client().request("POST", path, body)
        except AlreadyExists:
            return False
        return True

    def _put(self, client: ApiClient, path: str, body: dict[str, Any]) -> None:
        try:
            client.request("POST", path, body)
        except AlreadyExists:
            one = f"{path}/{body['metadata']['name']}"
            version = client.request("GET", one)["metadata"]["resourceVersion"]
            meta = body["metadata"] | {"resourceVersion": version}
            client.request("PUT", one, body | {"metadata": meta})

    def _write_secrets(self) -> None:
        key = asyncssh.generate_private_key("ecdsa-sha2-nistp256")
        _private(self.folder / "sa.key", key.export_private_key("pkcs1-pem"))
        rows = [f"{token},{name},{name}" for name, token in self.tokens.items()]
        rows[0] += ",system:masters"
        _private(self.folder / "tokens.csv", ("\n".join(rows) + "\n").encode())

    def _spawn(self, program: str, options: list[str]) -> None:
        path = shutil.which(program, path=str(self.assets))
        if path is None:
            raise KubeError(f"no program {program} in {self.assets}")
        with (self.folder / f"{program}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen([path, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder)
            )

    def _wait_ready(self, end: float) -> None:
        while time.monotonic() < end:
            for process, program in zip(self._processes, PROGRAMS, strict=True):
                if process.poll() is not None:
                    raise KubeError(f"{program} ended with {process.returncode}:\n{self._log_end(program)}")
            if self.ca.exists() and self._ready():
                return
            time.sleep(0.05)
        raise KubeError(f"kube-apiserver is not ready:\n{self._log_end('kube-apiserver')}")

    def _ready(self) -> bool:
        try:
            client = ApiClient(self.server, ca=self.ca, token=self.tokens[ADMIN])
        except OSError:
            return False  # the certificate is being written
        try:
            return bool(client.request("GET", "/readyz") == "ok")
        except StoreError:
            return False
        finally:
            client.close()

    def _log_end(self, program: str) -> str:
        return "\n".join((self.folder / f"{program}.log").read_text(errors="replace").splitlines()[-20:])


def _etcd_options(folder: Path, port: int, peer: int) -> list[str]:
    mine, others = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
    return [
        *("--data-dir", str(folder / "etcd"), "--unsafe-no-fsync", "--log-level", "warn"),
        *("--listen-client-urls", mine, "--advertise-client-urls", mine, "--listen-peer-urls", others),
        *("--initial-advertise-peer-urls", others, "--initial-cluster", f"default={others}"),
    ]


def _apiserver_options(folder: Path, etcd: int, port: int) -> list[str]:
    key = folder / "sa.key"
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        f"--cert-dir={folder / 'certs'}",
        f"--secure-port={port}",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--disable-admission-plugins=ServiceAccount",
    ]


def _served(client: ApiClient, path: str) -> bool:
    try:
        client.request("GET", path)
    except StoreError:
        return False  # not found yet, or its storage is being set up
    return True


def _private(path: Path, data: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(data)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; all are held until the last is found, so they differ."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in held]
    for each in held:
        each.close()
    return ports
