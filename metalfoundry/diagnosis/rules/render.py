"""A Workflow that was never rendered: its state stays empty, and only its conditions and the controller know why."""

from __future__ import annotations

import re
from collections.abc import Iterator

from metalfoundry.commands.log_parser import CONTROLLER
from metalfoundry.diagnosis import remedies
from metalfoundry.diagnosis.facts import Facts, absent, seen
from metalfoundry.diagnosis.findings import FAILED, Certainty, Evidence, Sign, Stage, rule
from metalfoundry.diagnosis.queries import SETTLED_SECONDS, condition, in_state, status

_RECONCILER = "tinkerbell/tinkerbell tink/controller/internal/workflow/reconciler.go@v0.21"
_NO_KEY = re.compile(r'map has no entry for key "([^"]+)"')
_RENDERING = "error rendering template:"


@rule("template-missing", Stage.RENDER, FAILED, 1, link=f"{_RECONCILER}:247; tink PR#631")
def template_missing(facts: Facts) -> Iterator[Sign]:
    """The Workflow names a Template that does not exist."""
    workflow = in_state(facts, "")
    if workflow is None:
        return
    said = condition(workflow, "template not found", type="TemplateRendered")
    line = facts.find(CONTROLLER, f"no template found: name={workflow.template_ref};")
    evidence = tuple(item for item in (said, Evidence.of(line) if line else None) if item)
    if evidence:
        certainty = Certainty.CERTAIN
    elif absent(facts.template) and not workflow.conditions and not workflow.disabled:
        certainty = Certainty.LIKELY
        evidence = (Evidence("kubectl", f"there is no Template {workflow.template_ref}"),)
    else:
        return
    yield Sign(
        certainty,
        f"the Workflow {workflow.name} names the Template {workflow.template_ref}, which does not exist in "
        f"{facts.configured.namespace}",
        evidence,
        remedies.list_templates(facts),
        "create that Template, or correct spec.templateRef and apply the Workflow again",
    )


@rule("hardware-missing", Stage.RENDER, FAILED, 2, link=f"{_RECONCILER}:278,292")
def hardware_missing(facts: Facts) -> Iterator[Sign]:
    """The Workflow names a Hardware that does not exist."""
    workflow = in_state(facts, "")
    said = condition(workflow, "hardware not found:", "error getting hardware:")
    named = workflow.hardware_ref if workflow else facts.configured.hardware
    gone = absent(facts.hardware) and named == facts.configured.hardware
    if workflow and said:
        evidence, who = said, f"the Workflow {workflow.name} names the Hardware {named}, which"
    elif gone and (workflow is None or not workflow.conditions) and not (workflow and workflow.disabled):
        evidence = Evidence("kubectl", f"there is no Hardware {named}")
        who = f"the Hardware {named}" if workflow is None else f"{workflow.name} names the Hardware {named}, which"
    else:
        return
    yield Sign(
        Certainty.CERTAIN if said or workflow is None else Certainty.LIKELY,
        f"{who} does not exist in {facts.configured.namespace}",
        (evidence,),
        remedies.list_hardware(facts),
        "create the Hardware object, or correct spec.hardwareRef and apply the Workflow again",
    )


@rule("map-key-missing", Stage.RENDER, FAILED, 3, link=f"{_RECONCILER}:365 (missingkey=error); tink#671")
def map_key_missing(facts: Facts) -> Iterator[Sign]:
    """The Template asks for a value that hardwareMap does not have."""
    workflow = in_state(facts, "")
    said = condition(workflow, "map has no entry for key")
    if workflow is None or said is None:
        return
    found = _NO_KEY.search(said.line)
    key = found[1] if found else "?"
    yield Sign(
        Certainty.CERTAIN,
        f"the Template {workflow.template_ref} asks for {key!r}, which the Workflow's hardwareMap does not have",
        (said,),
        remedies.provision(facts),
        first=f"add `{key}` to spec.hardwareMap in your Workflow file (or to servers.*.hardware_map)",
    )


@rule("template-broken", Stage.RENDER, FAILED, 3, link=f"{_RECONCILER}:365; tink#671, tink#806")
def template_broken(facts: Facts) -> Iterator[Sign]:
    """The Template cannot be rendered: no YAML, no tasks, a bad image or name."""
    workflow = in_state(facts, "")
    said = condition(workflow, _RENDERING, "failed to render template")
    if workflow is None or said is None or "map has no entry for key" in said.line:
        return
    template = seen(facts.template)
    why = said.line.split(_RENDERING, 1)[-1].strip()
    if template is not None and not template.data.strip():
        why = f"it has no spec.data ({why})"
    elif "empty hardware address" in why:
        why = f"the Hardware's interfaces give no MAC for the worker ({why})"
    yield Sign(
        Certainty.CERTAIN,
        f"the Template {workflow.template_ref} cannot be rendered: {why}",
        (said,),
        remedies.show_template(facts),
        "mend the Template and apply it; the controller renders the Workflow by itself then",
    )


@rule("workflow-disabled", Stage.RENDER, FAILED, 4, link="tinkerbell/tinkerbell spec.disabled", since=(0, 18, 0))
def workflow_disabled(facts: Facts) -> Iterator[Sign]:
    """The Workflow is disabled."""
    workflow = in_state(facts, "")
    if workflow is None or not workflow.disabled:
        return
    yield Sign(
        Certainty.CERTAIN,
        f"the Workflow {workflow.name} is disabled, so the controller leaves it alone",
        (Evidence(f"Workflow {workflow.name}", "spec.disabled: true"),),
        remedies.patch_workflow(facts, {"spec": {"disabled": False}}),
    )


_FORBIDDEN = ("is forbidden", "Unauthorized", "failed to list", "Failed to watch")


@rule(
    "controller-away",
    Stage.RENDER,
    FAILED,
    5,
    link="tinkerbell/tinkerbell tink/controller (leader lease, RBAC, namespace)",
    explains=("control-plane-down",),
)
def controller_away(facts: Facts) -> Iterator[Sign]:
    """No controller looks at the Workflow: it is down, may not, or watches another namespace."""
    workflow = in_state(facts, "")
    if workflow is None or workflow.conditions or workflow.disabled or (facts.age or 0) < SETTLED_SECONDS:
        return
    waits = f"{workflow.name} has had no status for {facts.age:.0f} s"
    show = remedies.kubectl(facts, "get", "deployments,leases,pods")
    deployments = seen(facts.deployments) or ()
    controllers = [item for item in deployments if item.is_controller]
    dead = [item for item in controllers if item.wanted and not item.ready]
    refused = facts.find(CONTROLLER, *_FORBIDDEN)
    if dead or (deployments and not controllers):
        shown = f"Deployment {dead[0].name}: 0 of {dead[0].wanted} ready" if dead else "no controller's Deployment"
        command = remedies.kubectl(facts, "describe", "deployment", dead[0].name) if dead else show
        certainty = Certainty.CERTAIN if dead else Certainty.LIKELY
        yield Sign(
            certainty, f"Tinkerbell's controller is not running: {waits}", (Evidence("kubectl", shown),), command
        )
    elif refused:
        what = f"Tinkerbell's controller may not read what it needs: {waits}"
        command = remedies.kubectl(facts, "get", "roles,rolebindings")
        yield Sign(Certainty.CERTAIN, what, (Evidence.of(refused),), command, "mend its RBAC")
    elif facts.log_seen(CONTROLLER) and not facts.find(CONTROLLER, workflow.name):
        what = f"Tinkerbell's controller does not see the Workflow (another namespace, or no leader): {waits}"
        yield Sign(Certainty.LIKELY, what, (status(workflow, "no line of the controller names it"),), show)


RULES = (
    template_missing,
    hardware_missing,
    map_key_missing,
    template_broken,
    workflow_disabled,
    controller_away,
)
