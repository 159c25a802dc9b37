"""Which Hardware and which Workflow document a run is about: chosen from what is there by what was asked."""

from __future__ import annotations

from metalfoundry.commands.kubectl import HARDWARE
from metalfoundry.model.documents import Document, workflow_for, workflow_from
from metalfoundry.model.errors import IdentityError, PreflightError
from metalfoundry.model.inventory import Server
from metalfoundry.model.names import nearest
from metalfoundry.model.resources import TEMPLATE_LABEL, Hardware
from metalfoundry.runs.provision_run import ProvisionRun
from metalfoundry.site.survey import Survey


def choose_hardware(run: ProvisionRun, survey: Survey) -> Hardware:
    """The server's Hardware. Raises PreflightError where it is not there or cannot netboot, IdentityError."""
    name = run.server.hardware
    if name not in survey.hardware:
        raise PreflightError(
            f"there is no Hardware {name}{nearest(name, survey.hardware)}",
            where=f"server {run.server.name}, namespace {run.site.kubectl.namespace}",
            next=f"there are: {', '.join(survey.hardware) or 'none'}; say which by servers.{run.server.name}.hardware",
        )
    hardware = survey.hardware[name]
    if not hardware.interfaces:
        raise PreflightError(
            f"Hardware {name} has no interface, so nothing can netboot",
            where=f"namespace {run.site.kubectl.namespace}",
            next=run.site.kubectl_hint("edit", f"{HARDWARE}/{name}"),
        )
    macs = [interface.mac for interface in hardware.interfaces]
    if run.server.mac and run.server.mac not in macs:
        raise IdentityError(
            f"Hardware {name} has no interface {run.server.mac} but {', '.join(filter(None, macs))}",
            where=f"servers.{run.server.name}.mac",
            next="correct one of them: netboot would be opened for another network card",
        )
    return hardware


def template_of(server: Server, survey: Survey) -> str | None:
    """The Template of a server: the inventory's; where that has neither Template nor Workflow file, the one that a
    label of the Hardware names, else the one that is called like the Hardware.
    """
    if server.template or server.workflow:
        return server.template
    hardware = survey.hardware.get(server.hardware)
    labelled = hardware.labels.get(TEMPLATE_LABEL) if hardware else None
    return labelled or (server.hardware if server.hardware in survey.templates else None)


def why_not(server: Server, survey: Survey) -> str:
    """Why a provision would refuse this server, as far as a survey tells; "" where nothing speaks against it."""
    hardware = survey.hardware.get(server.hardware)
    if hardware is None:
        return "there is no such Hardware"
    if hardware.protected is not None:
        return "it is protected"
    template = template_of(server, survey)
    if template is None and server.workflow is None:
        return "no Workflow file or Template is known"
    return f"there is no Template {template}" if template and template not in survey.templates else ""


def choose_document(run: ProvisionRun, survey: Survey) -> Document:
    """The Workflow document to be applied. Raises PreflightError, also where its Template is not there."""
    options, server = run.options, run.server
    template = options.template or (None if options.workflow else template_of(server, survey))
    path = options.workflow or (None if options.template else server.workflow)
    if template:
        default = server.mac or run.window.mac
        mapped = dict(server.hardware_map) or ({"device_1": default} if default else {})
        document = workflow_from(
            server=server.name,
            template=template,
            hardware=server.hardware,
            hardware_map=mapped,
            namespace=run.site.kubectl.namespace,
            name=options.workflow_name,
        )
    elif path:
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise PreflightError(
                f"the Workflow file cannot be read: {error.strerror}",
                where=str(path),
                next="give its path with --workflow",
            ) from error
        document = workflow_for(
            text, str(path), server.hardware, options.workflow_name, namespace=run.site.kubectl.namespace
        )
        if not document.template_ref:
            raise PreflightError(
                f"the Workflow {document.name} has no spec.templateRef", where=str(path), next="name its Template there"
            )
    else:
        raise PreflightError(
            f"neither a Workflow file nor a Template is known for {server.name}",
            where=run.site.inventory.source,
            next=f"give servers.{server.name}.workflow or .template, --workflow FILE or --template NAME; or label the "
            f"Hardware: {TEMPLATE_LABEL}=NAME",
        )
    return _checked(document, run, survey)


def _checked(document: Document, run: ProvisionRun, survey: Survey) -> Document:
    wanted, namespace = document.template_ref, run.site.kubectl.namespace
    if wanted not in survey.templates:
        raise PreflightError(
            f"there is no Template {wanted}{nearest(wanted, survey.templates)}",
            where=f"Workflow {document.name}, namespace {namespace}",
            next=f"there are: {', '.join(survey.templates) or 'none'}",
        )
    return document
