"""To which agent a Template gives its tasks, told before Tinkerbell renders it; or that nobody else can tell."""

from __future__ import annotations

import pytest

from metalfoundry.model.templates import Unresolved, workers

MAC = "00:00:5e:00:53:4b"
VALUES = {
    "device_1": MAC,
    "Hardware": {"interfaces": [{"dhcp": {"mac": "aa:bb:cc:00:00:01"}}], "disks": [{"device": "/dev/sda"}]},
}


def ids(data: str) -> list[str]:
    return [worker.id for worker in workers(data, VALUES)]


@pytest.mark.parametrize(
    "written",
    [
        '"{{.device_1}}"',
        "'{{ .device_1 }}'",
        "{{.device_1}}",
        MAC,
        '{{ index . "device_1" }}',
        "{{ (.device_1) }}",
        "'{{.device_1}}'  # who works",
    ],
)
def test_one_key_is_resolved_however_it_is_written(written: str) -> None:
    data = (
        f"version: '0.1'\ntasks:\n- name: os\n  worker: {written}\n  actions:\n  - name: a\n    timeout: {{{{ .t }}}}\n"
    )
    assert ids(data) == [MAC]


def test_a_path_into_the_hardware_is_resolved() -> None:
    assert ids('tasks:\n- name: a\n  worker: "{{ (index .Hardware.Interfaces 0).DHCP.MAC }}"\n') == [
        "aa:bb:cc:00:00:01"
    ]


def test_every_task_is_told() -> None:
    data = 'tasks:\n- {name: a, worker: "{{.device_1}}"}\n- name: b\n  worker: other\n'
    assert [(worker.task, worker.id, worker.perhaps) for worker in workers(data, VALUES)] == [
        ("a", MAC, False),
        ("b", "other", False),
    ]


def test_a_mac_of_digits_is_no_number() -> None:
    assert ids("tasks:\n- name: a\n  worker: 10:20:30:40:50:11\n") == ["10:20:30:40:50:11"]


def test_what_cannot_be_resolved_elsewhere_does_not_matter() -> None:
    data = "tasks:\n- name: a\n  worker: '{{.device_1}}'\n  actions:\n  - image: '{{ registry | lower }}/x'\n"
    assert ids(data) == [MAC]


def test_every_branch_of_a_condition_counts() -> None:
    data = (
        'tasks:\n- name: a\n  {{- if .x }}\n  worker: "{{.device_1}}"\n  {{- else }}\n  worker: other\n  {{- end }}\n'
    )
    found = workers(data, VALUES)
    assert {worker.id for worker in found} == {MAC, "other"}
    assert all(worker.perhaps for worker in found)


@pytest.mark.parametrize(
    "data",
    [
        "tasks:\n- name: a\n  worker: '{{.no_such_key}}'\n",
        "tasks:\n- name: a\n  worker: '{{.device_1 | toLower}}'\n",
        "tasks:\n- name: a\n  worker: '{{ printf .device_1 }}'\n",
        "tasks:\n- name: a\n  worker: '{{.device_1}}'\n{{ .more }}\n",
        "tasks: {{ .tasks }}\n",
        "{{ range .all }}\ntasks:\n- name: a\n  worker: '{{.device_1}}'\n{{ end }}\n",
        "{{ with .other }}\ntasks:\n- name: a\n  worker: '{{.device_1}}'\n{{ end }}\n",
        "{{ $m := .device_1 }}\ntasks:\n- name: a\n  worker: '{{$m}}'\n",
        "{{ define \"t\" }}x{{ end }}\ntasks:\n- name: a\n  worker: '{{.device_1}}'\n",
        "tasks:\n- {{ if .x }}{name: a, worker: other}{{ else }}{name: a, worker: '{{.device_1}}'}{{ end }}\n",
        "tasks:\n- name: a\n",
        "tasks: []\n",
        "",
        "[[[",
        "tasks: &a [*a]\n",
        "tasks:\n- name: a\n  worker: [x]\n",
    ],
)
def test_what_only_tinkerbell_can_tell_is_said(data: str) -> None:
    with pytest.raises(Unresolved) as caught:
        workers(data, VALUES)
    assert str(caught.value)
