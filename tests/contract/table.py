"""What the lab's kubectl must do just as the real one: scenes of command lines, one entry per line.

To add a command: one `Say` in a scene, its words as typed after `kubectl`. Every scene starts with an empty namespace.
Exit status, stdout and the objects afterwards are compared with kubectl 1.20 and 1.33, stderr with 1.33 alone.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from typing import Any

NAMESPACE = "tink-system"
HW = "hardware.v1alpha1.tinkerbell.org"
TPL = "templates.v1alpha1.tinkerbell.org"
WF = "workflows.v1alpha1.tinkerbell.org"


@dataclass(frozen=True)
class Say:
    """One command line. `old=False`: not said to kubectl 1.20; `quiet=True`: the words on stderr are not compared."""

    words: str | tuple[str, ...]
    stdin: str = ""
    old: bool = True
    quiet: bool = False

    @property
    def argv(self) -> list[str]:
        words = shlex.split(self.words) if isinstance(self.words, str) else list(self.words)
        return [word.replace("NS", NAMESPACE) if word == "NS" else word for word in words]


def hardware(name: str = "one", **spec: Any) -> str:
    interface = {"dhcp": {"mac": "00:00:5e:00:53:4b", "hostname": name}}
    meta = {"name": name, "annotations": {"kept": "a & <b>", "other": "ü"}}
    return manifest("Hardware", meta, {"interfaces": [interface], **spec})


def manifest(kind: str, meta: dict[str, Any], spec: dict[str, Any], **more: Any) -> str:
    return json.dumps({"apiVersion": "tinkerbell.org/v1alpha1", "kind": kind, "metadata": meta, "spec": spec, **more})


def ops(*operations: tuple[str, str] | tuple[str, str, Any]) -> str:
    return json.dumps([dict(zip(("op", "path", "value"), each, strict=False)) for each in operations])


MANAGER = "--field-manager=metalfoundry"
APPLY = f"apply -n NS -f - {MANAGER}"
PATCH = f"patch {HW}/one -n NS --type=json --patch-file=/dev/stdin {MANAGER}"
MERGE = "patch hw one -n NS --type merge --patch-file=/dev/stdin"
NOTES = "/metadata/annotations"
RUN = "/metadata/annotations/metalfoundry.dev~1run"
NETBOOT = "/spec/interfaces/0/netboot"
WORKFLOW = manifest("Workflow", {"name": "wf"}, {"hardwareRef": "one", "templateRef": "t", "hardwareMap": {"a": "b"}})
MACHINES = "machines.v1alpha1.bmc.tinkerbell.org"
BMC_MACHINE = manifest(
    "Machine", {"name": "bmc-one"}, {"connection": {"host": "192.0.2.250", "insecureTLS": True}}
).replace("tinkerbell.org/", "bmc.tinkerbell.org/")
BMC_JOB = manifest(
    "Job",
    {"name": "j", "namespace": NAMESPACE},
    {
        "machineRef": {"name": "bmc-one", "namespace": NAMESPACE},
        "tasks": [{"oneTimeBootDeviceAction": {"device": ["pxe"], "efiBoot": True}}, {"powerAction": "on"}],
    },
).replace("tinkerbell.org/", "bmc.tinkerbell.org/")
YAML = """
apiVersion: tinkerbell.org/v1alpha1
kind: Hardware
metadata: {name: two, labels: {rack: a}}
spec:
  interfaces:
    - dhcp: {mac: 00:00:5e:00:53:11, lease_time: 4294967294, uefi: yes}
---
apiVersion: tinkerbell.org/v1alpha1
kind: Template
metadata: {name: t}
spec:
  data: |
    version: "0.1"
    name: {{.name}}
"""
REVIEW = json.dumps(
    {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": NAMESPACE}}
)
ACCOUNT = '{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "guard"}}'


def path(words: str, form: str) -> Say:
    return Say((*shlex.split(words.replace("NS", NAMESPACE)), "-o", f"jsonpath={form}"))


def template(words: str, form: str) -> Say:
    return Say((*shlex.split(words.replace("NS", NAMESPACE)), "-o", f"go-template={form}"))


SCENES: dict[str, list[Say]] = {
    "read": [
        Say(f"get {HW} -n NS"),
        Say(f"get {HW},{TPL},{WF} -n NS -o json"),
        Say(f"{APPLY} -o name", hardware("one")),
        Say(f"{APPLY}", YAML),
        Say(f"{APPLY} -o json", WORKFLOW),
        Say(f"get {HW},{TPL},{WF} -n NS -o json"),
        Say(f"get -n NS -o json {HW} one"),
        Say(f"-n NS get {HW} one -o json --ignore-not-found"),
        Say(f"get {HW} nope -o json --ignore-not-found -n NS"),
        Say(f"get {HW}/one -o json --ignore-not-found -n NS"),
        Say(f"get {HW}/nope -o json --ignore-not-found -n NS"),
        Say(f"get {HW}/--kubeconfig=/x -o json --ignore-not-found -n NS"),
        Say(f"get {HW}/nope -n NS -o json"),
        Say(f"get {HW} nope -n NS -o json"),
        Say(f"get {HW} one nope -n NS -o json"),
        Say(f"get {HW} one two -n NS -o name"),
        Say("get hw/one wf/wf hardware/nope -n NS -o name"),
        Say(f"get {HW}/one -n NS -o json --ignore-not-found"),
        Say(f"get {HW}/nope -n NS -o json --ignore-not-found"),
        Say(f"get {HW},{WF} wf -n NS -o name"),
        Say(f"get {HW} -n NS --field-selector metadata.name=two -o name"),
        Say("get hardware -n NS"),
        Say("get hw,tpl,wf -n NS"),
        Say("get wf -n NS -o wide"),
        Say("get workflows.tinkerbell.org -n NS -oname"),
        Say("get hardware -n elsewhere"),
        Say("get hardware -n elsewhere -o json"),
        Say("get hardware one --namespace=elsewhere -o json"),
        Say("get zork -n NS"),
        Say("get zork.v1.example.org -n NS", quiet=True),
        Say("get pods,deployments,events -n NS -o name"),
        Say(f"get {HW} -n NS -l rack=a -o name"),
        Say(f"get {HW} -n NS -l rack=b -o json"),
        Say("get deployments.v1.apps/metalfoundry-guard -n NS -o json --ignore-not-found"),
        Say("get pods -l app.kubernetes.io/name=metalfoundry-guard -o json -n NS"),
        Say("logs -l app.kubernetes.io/name=metalfoundry-guard --tail=500 -n NS"),
        Say("get cronjobs.v1.batch/old serviceaccounts/old -o name --ignore-not-found -n NS"),
        Say(f"get {HW} one -n NS -o yaml", old=False),
        Say("get --raw /readyz"),
        Say("get --raw /apis/tinkerbell.org"),
        Say("auth can-i patch hardware.tinkerbell.org -n NS"),
        Say("logs nope -n NS"),
        Say("logs pods/nope -n NS"),
    ],
    "jsonpath": [
        Say(f"{APPLY} -o name", hardware("one", disks=[{"device": "/dev/sda"}, {"device": "/dev/<b>"}])),
        Say(f"{APPLY} -o name", hardware("two")),
        path(f"get {HW} one -n NS", "{.metadata.name}"),
        path(f"get {HW} one -n NS", '{.metadata.name}{"\\n"}{.spec.interfaces[0].dhcp.mac}{"\\t"}|'),
        path(f"get {HW} one -n NS", "{.metadata.annotations.kept}{.metadata.annotations.metalfoundry\\.dev/run}"),
        path(f"get {HW} one -n NS", "{.spec.interfaces[0].netboot}{.spec.nope.deeper}"),
        path(f"get {HW} one -n NS", "{.spec.interfaces[0]}"),
        path(f"get {HW} one -n NS", "{.spec.interfaces[0].disableDhcp} {.metadata.generation}"),
        path(f"get {HW} one -n NS", "{.spec.disks[*].device} {.spec.disks[-1:].device}".replace("-1:", "-1")),
        path(f"get {HW} one -n NS", "{.spec.disks}"),
        path(f"get {HW} -n NS", '{range .items[*]}{.metadata.name} {.spec.interfaces[0].dhcp.mac}{"\\n"}{end}'),
        path(f"get {HW} -n NS", "{.items[*].metadata.name}"),
        path(f"get {HW} nope -n NS --ignore-not-found", "{.metadata.name}"),
        path(f"get {HW} nope -n NS", "{.metadata.name}"),
        path(f"get {HW} one -n NS", "{.metadata.name"),
    ],
    "go-template": [
        Say(f"{APPLY} -o name", hardware("one", disks=[{"device": "/dev/sda"}, {"device": "/dev/<b>"}])),
        Say(f"{APPLY} -o name", hardware("two")),
        Say(f"{APPLY} -o name", WORKFLOW),
        template(f"get {HW}/one {WF}/wf {WF}/nope -n NS --ignore-not-found", "{{range .items}}{{.kind}} {{end}}"),
        template(f"get {HW},{WF} -n NS", '{{range .items}}{{.kind}}/{{.metadata.name}}{{"\\n"}}{{end}}'),
        template(f"get {HW} one -n NS", '{{with .metadata.annotations}}{{with index . "kept"}}{{.}}{{end}}{{end}}'),
        template(f"get {HW} one -n NS", '{{with .metadata.annotations}}{{printf "%q" (index . "kept")}}{{end}}'),
        template(f"get {HW} one -n NS", '{{if eq .metadata.name "one"}}yes{{else}}no{{end}}{{.metadata.generation}}'),
        template(
            f"get {HW} one -n NS", "{{range .spec.disks}}\n  {{- .device -}}  \n{{end}}{{with .nope}}x{{else}}-{{end}}"
        ),
        template(f"get {HW} one -n NS", '{{printf "%q" "a\\tü\\u00a0\\u0007\\"b\\\\"}}{{.nope}}'),
        template(f"get {HW} one -n NS", '{{index (index .spec.disks 1) "device"}}'),
        template(f"get {HW}/nope -n NS --ignore-not-found", "{{.metadata.name}}"),
    ],
    "window": [
        Say(f"{APPLY} -o name", hardware("one", disks=[{"device": "/dev/sda"}])),
        Say(f"{PATCH} -o name", ops(("test", RUN, None), ("add", RUN, "r1"))),
        Say(f"{PATCH} -o name", ops(("test", RUN, None), ("add", RUN, "r2"))),
        Say(f"{PATCH} -o name", ops(("test", RUN, "r2"), ("add", f"{NETBOOT}", {}))),
        Say(f"{PATCH} -o name", ops(("test", RUN, "r1"), ("add", f"{NETBOOT}/allowPXE", True))),
        Say(f"{PATCH} -o json", ops(("add", NETBOOT, {}), ("add", f"{NETBOOT}/allowPXE", True))),
        Say(f"{PATCH}", ops(("add", f"{NETBOOT}/allowPXE", False), ("add", f"{NETBOOT}/allowWorkflow", False))),
        Say(f"{PATCH}", ops(("add", f"{NETBOOT}/allowPXE", False))),
        Say(f"{PATCH} -o name", ops(("add", f"{NETBOOT}/allowPXE", False))),
        Say(f"{PATCH} -o name", ops(("test", RUN, "r1"), ("remove", RUN))),
        Say(f"{PATCH} -o name", ops(("remove", RUN))),
        Say(f"patch {HW} nope -n NS --type=json -p []"),
        Say(f"patch {HW} one -n NS --type=json -p nonsense", quiet=True),
        Say(("patch", HW, "one", "-n", NAMESPACE, "--type=json", "-p", '{"op": "add"}'), quiet=True),
        Say(f"{PATCH}", ops(("add", f"{NETBOOT}/unheard", 1)), quiet=True),
        Say(f"{PATCH} -o name", ops(("add", "/spec/interfaces/0/dhcp/mac", "00:00:5E:00:53:4B"))),
        Say(f"{PATCH} -o name", ops(("add", f"{NETBOOT}/allowPXE", "yes"))),
        Say(f"{PATCH} -o name", ops(("add", f"{NETBOOT}/allowPXE", "yes"), ("add", "/spec/userData", 7))),
        Say(f"{PATCH} -o name", ops(("add", "/metadata/annotations/bad key", "x"))),
        Say(f"{PATCH} -o name", ops(("add", "/metadata/annotations/number", 1)), quiet=True),
        Say(f"{PATCH} -o name", ops(("add", "/metadata/name", "zork"))),
        Say(f"{PATCH} -o name", ops(("add", "/metadata/uid", "zork"))),
        Say(f"{PATCH} -o name", ops(("add", "/metadata/resourceVersion", "1"))),
        Say(f"{PATCH} -o name", ops(("add", "/status", {"state": "x"}))),
        Say(f"{PATCH} -o name", ops(("remove", "/metadata/annotations"))),
        Say(f"{PATCH} -o name", ops(("add", RUN, "r3"))),
        Say(f"{PATCH} -o name", ops(("test", NOTES, None), ("add", NOTES, {}))),
        Say(
            f"{PATCH} -o name",
            ops(("test", "/metadata/annotations", None), ("add", "/metadata/annotations", {"a": "b"})),
        ),
        Say(f"{PATCH} -o name", ops(("remove", "/spec"))),
    ],
    "one in a word": [
        Say(f"{APPLY} -o name", hardware("one")),
        Say(f"patch {HW}/one -n NS --type=json --patch-file=/dev/stdin {MANAGER} -o name", ops(("add", NETBOOT, {}))),
        Say(f"patch {HW}/nope -n NS --type=json --patch-file=/dev/stdin {MANAGER} -o name", ops(("add", NETBOOT, {}))),
        Say(f"delete {HW}/one --ignore-not-found --wait=false -n NS"),
        Say(f"delete {HW}/one --ignore-not-found --wait=false -n NS"),
        Say(f"delete {HW}/one --wait=false -n NS"),
    ],
    "a job of the BMC": [
        Say(f"get {MACHINES}/bmc-one -o json -n NS"),
        Say("create -f - -n NS", BMC_MACHINE),
        Say(f"get {MACHINES}/bmc-one -o json -n NS"),
        Say("create -f - -o name -n NS", BMC_JOB.replace('"on"', '"up"')),
        Say("create -f - -o name -n NS", BMC_JOB),
        Say("create -f - -o name -n NS", BMC_JOB),
        Say("create -f - -o name -n NS", BMC_JOB.replace("powerAction", "powerActing"), quiet=True, old=False),
        Say("get jobs.v1alpha1.bmc.tinkerbell.org/j -o json --ignore-not-found -n NS"),
        Say("get jobs -o name -n NS"),
        Say("get tasks.v1alpha1.bmc.tinkerbell.org -o json -n NS"),
    ],
    "merge": [
        Say(f"{APPLY} -o name", hardware("one")),
        Say(("patch", HW, "one", "-n", NAMESPACE, "--type=merge", "-p", '{"spec": {"userData": "x"}}')),
        Say(("patch", HW, "one", "-n", NAMESPACE, "--type=merge", "-p", '{"spec": {"userData": "x"}}')),
        Say(
            "patch hw one -n NS --type merge --patch-file=/dev/stdin -o name",
            '{"metadata": {"annotations": {"kept": null}}}',
        ),
        Say(MERGE, '{"metadata": {"resourceVersion": "1"}}'),
        Say(MERGE, '{"spec": {"interfaces": null}}'),
        Say("patch hw/one -n NS --type merge --patch-file=/dev/stdin", '{"status": {"state": "x"}}'),
    ],
    "write": [
        Say("create -n NS -f -", WORKFLOW),
        Say("create -n NS -f -", WORKFLOW),
        Say(APPLY, WORKFLOW),
        Say(APPLY, WORKFLOW),
        Say(APPLY, WORKFLOW.replace('"a": "b"', '"c": "d"')),
        Say(f"{APPLY} -o json", WORKFLOW),
        Say(APPLY, hardware("one")),
        Say(APPLY, hardware("one")),
        Say(APPLY, hardware("one", bogus=1), quiet=True, old=False),
        Say(f"{APPLY} --validate=false", hardware("one", bogus=1)),
        Say(APPLY, hardware("One"), quiet=True),
        Say(APPLY, hardware("one").replace("00:0c", "00:0C")),
        Say(APPLY, hardware("fresh").replace("00:0c", "00:0C")),
        Say(APPLY, manifest("Workflow", {"name": "s"}, {}, status={"state": "RUNNING"})),
        Say(APPLY, manifest("Hardware", {"name": "x", "namespace": "elsewhere"}, {})),
        Say("apply -n elsewhere -f -", hardware("one")),
        Say(APPLY, '{"apiVersion": "v9", "kind": "Pod", "metadata": {"name": "x"}}', quiet=True),
        Say(APPLY, "", quiet=True),
        Say(APPLY, "a: [", quiet=True),
        Say(f"{APPLY} -o name", ACCOUNT),
        Say("get sa guard -n NS -o name"),
        Say("delete workflow wf -n NS --ignore-not-found --wait=false"),
        Say("delete workflow wf -n NS --ignore-not-found --wait=false"),
        Say(f"delete {HW} one nope -n NS --wait=false"),
        Say("delete wf/s -n NS --wait=false -o name"),
        Say("delete serviceaccounts/guard --ignore-not-found --wait=false -n NS"),
        Say("delete serviceaccounts/guard --ignore-not-found --wait=false -n NS"),
    ],
}
