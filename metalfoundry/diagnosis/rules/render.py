"""A Workflow that was never rendered: its state stays empty, and only its conditions and the controller know why."""

from __future__ import annotations

import re
from functools import partial

from metalfoundry.commands.log_parser import CONTROLLER
from metalfoundry.diagnosis import findings, remedies
from metalfoundry.diagnosis.facts import Facts, absent, seen
from metalfoundry.diagnosis.findings import FAILED, Evidence, Match, Stage, certain, likely
from metalfoundry.diagnosis.queries import SETTLED_SECONDS, condition, in_state, status

rule = partial(findings.rule, Stage.RENDER)
_RECONCILER = "tinkerbell/tinkerbell tink/controller/internal/workflow/reconciler.go@v0.21"
_NO_KEY = re.compile(r'map has no entry for key "([^"]+)"')
_RENDERING = "error rendering template:"
_FORBIDDEN = ("is forbidden", "Unauthorized", "failed to list", "Failed to watch")


@rule("template-missing", FAILED, 1, link=f"{_RECONCILER}:247; tink PR#631")
def template_missing(facts: Facts) -> Match | None:
    """The Workflow names a Template that does not exist."""
    workflow = in_state(facts, "")
    if workflow is None:
        return None
    reason = condition(workflow, "template not found", type="TemplateRendered")
    line = facts.find(CONTROLLER, f"no template found: name={workflow.template_ref};")
    proven = reason is not None or line is not None
    if not proven and (not absent(facts.template) or workflow.conditions or workflow.disabled):
        return None
    absence = Evidence("kubectl", f"there is no Template {workflow.template_ref}")
    return (certain if proven else likely)(
        f"the Workflow {workflow.name} names the Template {workflow.template_ref}, which does not exist in "
        f"{facts.configured.namespace}",
        evidence=[reason, line] if proven else [absence],
        remedy=remedies.list_templates(facts),
        advice="create that Template, or correct spec.templateRef and apply the Workflow again",
    )


@rule("hardware-missing", FAILED, 2, link=f"{_RECONCILER}:278,292")
def hardware_missing(facts: Facts) -> Match | None:
    """The Workflow names a Hardware that does not exist."""
    workflow = in_state(facts, "")
    reason = condition(workflow, "hardware not found:", "error getting hardware:")
    named = workflow.hardware_ref if workflow else facts.configured.hardware
    who = f"the Hardware {named}"
    if workflow is not None:
        who = f"the Workflow {workflow.name} names {who}, which" if reason else f"{workflow.name} names {who}, which"
    gone = absent(facts.hardware) and named == facts.configured.hardware
    if not reason and (not gone or (workflow is not None and (workflow.conditions or workflow.disabled))):
        return None
    return (certain if reason or workflow is None else likely)(
        f"{who} does not exist in {facts.configured.namespace}",
        evidence=[reason or Evidence("kubectl", f"there is no Hardware {named}")],
        remedy=remedies.list_hardware(facts),
        advice="create the Hardware object, or correct spec.hardwareRef and apply the Workflow again",
    )


@rule("map-key-missing", FAILED, 3, link=f"{_RECONCILER}:365 (missingkey=error); tink#671")
def map_key_missing(facts: Facts) -> Match | None:
    """The Template asks for a value that hardwareMap does not have."""
    workflow = in_state(facts, "")
    reason = condition(workflow, "map has no entry for key")
    if workflow is None or reason is None:
        return None
    named = _NO_KEY.search(reason.line)
    key = named[1] if named else "?"
    return certain(
        f"the Template {workflow.template_ref} asks for {key!r}, which the Workflow's hardwareMap does not have",
        evidence=[reason],
        first=f"add `{key}` to spec.hardwareMap in your Workflow file (or to servers.*.hardware_map)",
        remedy=remedies.provision(facts),
    )


@rule("template-broken", FAILED, 3, link=f"{_RECONCILER}:365; tink#671, tink#806")
def template_broken(facts: Facts) -> Match | None:
    """The Template cannot be rendered: no YAML, no tasks, a bad image or name."""
    workflow = in_state(facts, "")
    reason = condition(workflow, _RENDERING, "failed to render template")
    if workflow is None or reason is None or "map has no entry for key" in reason.line:
        return None
    template = seen(facts.template)
    why = reason.line.split(_RENDERING, 1)[-1].strip()
    if template is not None and not template.data.strip():
        why = f"it has no spec.data ({why})"
    elif "empty hardware address" in why:
        why = f"the Hardware's interfaces give no MAC for the worker ({why})"
    return certain(
        f"the Template {workflow.template_ref} cannot be rendered: {why}",
        evidence=[reason],
        remedy=remedies.show_template(facts),
        advice="mend the Template and apply it; the controller renders the Workflow by itself then",
    )


@rule("workflow-disabled", FAILED, 4, link="tinkerbell/tinkerbell spec.disabled", since=(0, 18, 0))
def workflow_disabled(facts: Facts) -> Match | None:
    """The Workflow is disabled."""
    workflow = in_state(facts, "")
    if workflow is None or not workflow.disabled:
        return None
    return certain(
        f"the Workflow {workflow.name} is disabled, so the controller leaves it alone",
        evidence=[Evidence(f"Workflow {workflow.name}", "spec.disabled: true")],
        remedy=remedies.patch_workflow(facts, {"spec": {"disabled": False}}),
    )


@rule(
    "controller-away",
    FAILED,
    5,
    link="tinkerbell/tinkerbell tink/controller (leader lease, RBAC, namespace)",
    explains=["control-plane-down"],
)
def controller_away(facts: Facts) -> Match | None:
    """No controller looks at the Workflow: it is down, may not, or watches another namespace."""
    workflow = in_state(facts, "")
    if workflow is None or workflow.conditions or workflow.disabled or (facts.age or 0) < SETTLED_SECONDS:
        return None
    waits = f"{workflow.name} has had no status for {facts.age:.0f} s"
    deployments = seen(facts.deployments) or ()
    controllers = [item for item in deployments if item.is_controller]
    dead = next((item for item in controllers if item.wanted and not item.ready), None)
    if dead:
        return certain(
            f"Tinkerbell's controller is not running: {waits}",
            evidence=[Evidence("kubectl", f"Deployment {dead.name}: 0 of {dead.wanted} ready")],
            remedy=remedies.kubectl(facts, "describe", "deployment", dead.name),
        )
    show = remedies.kubectl(facts, "get", "deployments,leases,pods")
    if deployments and not controllers:
        what, proof = f"Tinkerbell's controller is not running: {waits}", "no controller's Deployment"
        return likely(what, evidence=[Evidence("kubectl", proof)], remedy=show)
    if refused := facts.find(CONTROLLER, *_FORBIDDEN):
        return certain(
            f"Tinkerbell's controller may not read what it needs: {waits}",
            evidence=[refused],
            remedy=remedies.kubectl(facts, "get", "roles,rolebindings"),
            advice="mend its RBAC",
        )
    if facts.log_seen(CONTROLLER) and not facts.find(CONTROLLER, workflow.name):
        return likely(
            f"Tinkerbell's controller does not see the Workflow (another namespace, or no leader): {waits}",
            evidence=[status(workflow, "no line of the controller names it")],
            remedy=show,
        )
    return None
