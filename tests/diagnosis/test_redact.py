"""What leaves the house in a bundle: secrets are planted, and must be gone; what a diagnosis needs must stay."""

from __future__ import annotations

import base64
import json

import pytest

from metalfoundry.diagnosis import redact

HASH = "$6$rounds=4096$saltsalt$kGv0Wm5tPZ9d8u1m7xTt1YdZbB1kR0lE3zY1Jf2oX9cVh1nQe7uWq1"
JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJlLXRoYXQtaXMtbG9uZw"
PEM = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\nAAAB\n-----END OPENSSH PRIVATE KEY-----"

PLANTED = [
    ("registry_username=bob registry_password=hunter2 worker_id=00:00:5e:00:53:4b", "hunter2"),
    ("      passwd: " + HASH, "kGv0Wm5tPZ9d8u"),
    ("chpasswd: {list: ['root:" + HASH + "']}", "kGv0Wm5tPZ9d8u"),
    (f'hashed_passwd: "{HASH}"', "saltsalt"),
    ("hashed_passwd: '$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7'", "F5Jx5fExrKuPp53"),
    ("Authorization: Bearer abcdef0123456789abcdef", "abcdef0123456789"),
    ("Authorization: Basic Ym9iOmh1bnRlcjI=", "Ym9iOmh1bnRlcjI"),
    (f"token={JWT}", "eyJhbGci"),
    (f"a token stands here: {JWT} in a line", "eyJhbGci"),
    (PEM, "b3BlbnNzaC1rZXk"),
    ("ssh_private_key: |\n" + PEM + "\nafter: this", "b3BlbnNzaC1rZXk"),
    (PEM.split("\n-----END")[0], "b3BlbnNzaC1rZXk"),
    ('{"password":"hunter2 with blanks","next":1}', "hunter2"),
    ('{\\"password\\":\\"hunter2\\"}', "hunter2"),
    ("IMG_URL=http://bob:hunter2@10.77.0.1/noble.raw.gz", "hunter2"),
    ("https://x.example/y?access_token=abc123def456&z=1", "abc123def456"),
    ("pull with ghp_0123456789abcdefghijklmnopqrstuvwxyz", "ghp_0123456789abc"),
    ("SECRET_KEY: 'hunter2'", "hunter2"),
    ("users:\n- name: x\n  password: |\n    hunter2\n    more\nafter: this\n", "hunter2"),
    ("rootpw = hunter2", "hunter2"),
    ("aws_secret_access_key=wJalrXUtnFEMI/K7MDENG", "wJalrXUtnFEMI"),
    ("mount --user bob --password hunter2 //share", "hunter2"),
    ("kubeadm join --token abcdef.0123456789abcdef 10.0.0.1:6443", "abcdef.0123456789abcdef"),
    ("sshpass -p hunter2 ssh root@10.0.0.9", "hunter2"),
    ("docker login -u bob -p hunter2 ghcr.io", "hunter2"),
    ("echo 'root:hunter2' | chpasswd", "hunter2"),
    ("chpasswd:\n  list: |\n    root:hunter2\n    ubuntu:hunter2\n", "hunter2"),
    ("chpasswd:\n  list:\n    - root:hunter2\n", "hunter2"),
    ('network={ ssid="lab" psk="hunter2 and more" }', "hunter2"),
    ("wpa-psk: hunter2", "hunter2"),
    ("AGE-SECRET-KEY-1QQPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQQPZRY9X8GF2TVDW0S3", "QQPZRY9X8GF2TVDW"),
    ("userData: " + base64.b64encode(b"#cloud-config\npassword: hunter2\n").decode(), "I2Nsb3VkLWNvbmZpZ"),
]

NEEDED = [
    "worker_id=00:00:5e:00:53:4b grpc_authority=10.77.0.2:42113",
    '{"time":"2026-11-23T01:20:00.956687093Z","msg":"does not allow it to pxe","client":"AABeAFNL","error":null}',
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJfR kevin@laptop",
    "IMG_URL=http://10.77.0.1/noble.raw.gz DEST_DISK=/dev/sda",
    "pull access denied for missing/image, repository does not exist or may require 'docker login'",
    "authSecretRef: {name: bmc-anvil, namespace: tink-system}",
    "boot id 6f1c0a52-0a0b-4d0c-9a51-7d3c1e7a7b11, machine id 0f3c9e7b",
    "password: ''",
    "lock_passwd: false",
]


@pytest.mark.parametrize(("line", "secret"), PLANTED)
def test_a_planted_secret_is_gone(line: str, secret: str) -> None:
    assert secret in line
    shown = redact.text(line)
    assert secret not in shown
    assert "[hidden]" in shown
    assert redact.text(shown) == shown


@pytest.mark.parametrize("line", NEEDED)
def test_what_a_diagnosis_needs_stays(line: str) -> None:
    assert redact.text(line) == line


def test_json_is_looked_through_by_names_and_by_shape() -> None:
    value = {
        "spec": {
            "userData": f"#cloud-config\nusers:\n- name: ubuntu\n  passwd: {HASH}\n",
            "connection": {"host": "10.0.0.9", "password": "hunter2", "authSecretRef": {"name": "bmc"}},
            "env": [{"name": "REGISTRY_PASSWORD", "value": "hunter2"}, {"name": "DEST_DISK", "value": "/dev/sda"}],
            "nested": {"apiToken": {"value": "hunter2"}},
            "flag": {"password": None, "token": True},
        },
    }
    shown = redact.data(value)
    text = json.dumps(shown)
    assert "hunter2" not in text and "saltsalt" not in text
    assert shown["spec"]["connection"]["host"] == "10.0.0.9"
    assert shown["spec"]["connection"]["authSecretRef"] == {"name": "bmc"}
    assert shown["spec"]["env"][1]["value"] == "/dev/sda"
    assert shown["spec"]["flag"] == {"password": None, "token": True}
    assert "name: ubuntu" in shown["spec"]["userData"]


def test_a_long_line_costs_no_more_than_its_length() -> None:
    for line in ("a-b." * 100_000, "token-" * 50_000, "password" * 50_000):
        assert len(redact.text(line)) == len(line)


def test_known_secrets_are_hidden_wherever_they_stand() -> None:
    assert redact.data({"line": "it said s3same"}, ["s3same"]) == {"line": "it said [hidden]"}
