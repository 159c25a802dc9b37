"""What may happen to a machine: one short record each, by name.

A new scenario is a new record here; a new kind of trouble is a new field, read where it happens
(machine.py for firmware and disk, tink_agent.py for actions, controller.py and tink_server.py for Tinkerbell).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from metalfoundry.lab.clock import LabError


class Last(Enum):
    """How the Template ends."""

    WAITDAEMON = "waitdaemon"  # reports SUCCESS, reboots a little later
    REBOOT = "reboot"  # reboots inside the action: never reported
    KEXEC = "kexec"  # as REBOOT, without firmware
    STAY = "stay"  # no boot action: the machine stays in HookOS


class Firmware(Enum):
    """What the firmware does after POST."""

    NETBOOT = "netboot"  # asks Smee, and boots the disk where Smee denies
    DISK = "disk"  # boots the disk whatever DHCP offers
    DEAD = "dead"  # comes no further than POST


class ActionFault(Enum):
    """How an action goes wrong."""

    EXIT_CODE = "exit-code"
    TIMEOUT = "timeout"
    PULL_DENIED = "image-pull-denied"
    NO_MANIFEST = "image-no-manifest"
    NO_SPACE = "image-no-space"
    STUCK = "stuck"  # runs until somebody stops it
    COMPRESSION = "bad-compression"  # image2disk does not know the image's suffix
    COMPLAINS = "complains"  # exits with 1 and says what nobody has heard before
    POWER_CUT = "power-cut"  # the machine restarts in the middle of it


class BmcFault(Enum):
    """What is wrong with the machine's BMC, or with Rufio's way to it."""

    NONE = "none"
    UNREACHABLE = "unreachable"  # nothing answers at its address
    TIMEOUT = "timeout"  # it answers, and does not come to an end
    REFUSES = "refuses"  # it does not do what it is told
    NO_MACHINE = "no-machine"  # the Hardware names a Machine that nobody has made
    STUCK = "stuck"  # its Job runs for ever


class Trouble(Enum):
    """What keeps HookOS from its work."""

    NO_IMAGE = "no-image"  # the command line names no image of the agent
    PULL = "pull"  # the registry has no such image of the agent
    GRPC = "grpc"  # nothing listens at grpc_authority
    TLS = "tls"  # the agent speaks TLS, tink-server does not


@dataclass(frozen=True, slots=True)
class Scenario:
    """One story. The defaults are a healthy machine that installs."""

    name: str
    story: str
    last: Last = Last.WAITDAEMON
    firmware: Firmware = Firmware.NETBOOT
    in_hook: bool = False  # the machine sits in HookOS when the lab starts
    off: bool = False  # it is switched off when the lab starts
    old_ssh: bool = True  # False: the old system has no sshd
    bmc: BmcFault | None = None  # None: it has no BMC
    hook_ssh: bool = False  # this HookOS was built with an sshd
    faults: Mapping[str, ActionFault] = field(default_factory=dict)  # action name -> what goes wrong
    disk_takes: bool = True  # False: what was streamed is not what the disk boots
    mute: bool = False  # the new system's sshd takes connections and says nothing
    true_key: bool = True  # False: known_hosts holds another key for the machine
    right_agent: bool = True  # False: hardware_map names a MAC that no machine has
    finished_before: bool = False  # a finished Workflow of the same agent lies around
    shadow: float = 8.0  # machine seconds that such a Workflow holds up the next one
    toggle: bool = True  # the Workflow document asks for toggleAllowNetboot
    netboot_block: bool = True  # False: the Hardware has no `netboot` at all
    workers: bool = True  # False: the agent's image cannot be fetched, HookOS stays silent
    action_factor: float = 1.0  # how many times longer each action takes
    action_timeout: int = 0  # replaces every action's timeout, in machine seconds, where above 0
    global_timeout: int = 1800  # of the Template, in machine seconds
    cloud_init: str = "done"  # what `cloud-init status` says on the new system
    marker: bool = True  # False: the new system lacks /var/lib/tinkerbell-provisioned
    baked: bool = False  # the new system's machine-id, host key and marker have been in the image
    begun: bool = False  # somebody has applied the Workflow and rebooted the machine when the lab stands
    trouble: Trouble | None = None  # in HookOS
    template: bool = True  # False: the Workflow names a Template that nobody has
    map_key: bool = True  # False: hardwareMap lacks the key that the Template wants
    other_nic: bool = False  # the machine netboots from a NIC that the Hardware does not know
    rival: bool = False  # another live Workflow of the same agent is there first
    kexec_hangs: bool = False  # between the kernels
    stray: bool = False  # netboot is open, and nobody knows why


_ALL = (
    Scenario("installs", "installs; the last action reports SUCCESS and reboots the machine"),
    Scenario("reboot-last", "installs; the last action reboots, so SUCCESS never comes", last=Last.REBOOT),
    Scenario("kexec-last", "installs; the last action boots the new kernel by kexec", last=Last.KEXEC),
    Scenario("action-fails", "write-netplan exits with 1", faults={"write-netplan": ActionFault.EXIT_CODE}),
    Scenario("action-times-out", "write-netplan outlives its timeout", faults={"write-netplan": ActionFault.TIMEOUT}),
    Scenario(
        "image-missing",
        "the registry has no such action image",
        faults={"stream-ubuntu-image": ActionFault.NO_MANIFEST},
    ),
    Scenario("never-netboots", "the firmware boots the disk whatever DHCP offers", firmware=Firmware.DISK),
    Scenario("already-in-hook", "the machine idles in HookOS, which has no sshd", in_hook=True),
    Scenario("already-in-hook-ssh", "the machine idles in a HookOS with sshd", in_hook=True, hook_ssh=True),
    Scenario("hook-ssh", "installs from a HookOS with sshd", hook_ssh=True),
    Scenario("old-system-returns", "SUCCESS, but the disk still boots the old system", disk_takes=False),
    Scenario("wrong-host-key", "the machine shows another key than known_hosts has", true_key=False),
    Scenario("dead", "nothing is heard from the machine after the reboot", firmware=Firmware.DEAD),
    Scenario("wrong-agent-id", "the Workflow waits for an agent that no machine is", right_agent=False),
    Scenario("agent-silent", "HookOS comes up and starts no agent", workers=False),
    Scenario("agent-image-refused", "HookOS cannot pull the agent's image", hook_ssh=True, trouble=Trouble.PULL),
    Scenario("shadowed", "a finished Workflow of the same agent holds up the new one", finished_before=True),
    Scenario("slow", "installs, eight times slower", action_factor=8.0),
    Scenario("no-netboot-block", "installs; the Hardware has no netboot block before", netboot_block=False),
    Scenario("no-toggle", "installs; the Workflow leaves allowPXE to us", toggle=False),
    Scenario("cloud-init-fails", "installs; cloud-init ends in error", cloud_init="error"),
    Scenario("mute-ssh", "installs; the new system's sshd takes connections and says nothing", mute=True),
    Scenario("no-marker", "installs; the new system lacks the marker file", marker=False),
    Scenario("dead-with-bmc", "installs; the machine answers nothing, and its BMC does", old_ssh=False,
             bmc=BmcFault.NONE),
    Scenario("bmc-unreachable", "the machine answers nothing, and its BMC neither", old_ssh=False,
             bmc=BmcFault.UNREACHABLE),
)  # fmt: skip
_STREAM, _NETPLAN = "stream-ubuntu-image", "write-netplan"
_BEGUN = (
    Scenario("template-missing", "the Workflow names a Template that is not there", template=False),
    Scenario("map-key-missing", "the Workflow's hardwareMap lacks the key device_1", map_key=False),
    Scenario("pxe-closed", "nobody has opened netboot", toggle=False),
    Scenario("mac-mismatch", "the machine netboots from a NIC that the Hardware does not know", other_nic=True),
    Scenario("no-image-on-cmdline", "Smee gives HookOS no tink_worker_image", hook_ssh=True, trouble=Trouble.NO_IMAGE),
    Scenario("image-pull-failure", "HookOS cannot pull the agent's image", hook_ssh=True, trouble=Trouble.PULL),
    Scenario("grpc-unreachable", "nothing listens at grpc_authority", hook_ssh=True, trouble=Trouble.GRPC),
    Scenario("tls-mismatch", "the agent speaks TLS, and tink-server does not", hook_ssh=True, trouble=Trouble.TLS),
    Scenario("waits-for-nobody", "as wrong-agent-id, under way", right_agent=False, hook_ssh=True),
    Scenario("stays-shadowed", "as shadowed, for hours", finished_before=True, shadow=1e5, hook_ssh=True),
    Scenario(
        "two-live-workflows", "another Workflow runs on it", in_hook=True, hook_ssh=True, rival=True,
        faults={_STREAM: ActionFault.STUCK},
    ),
    Scenario("rebooted-mid-action", "the power fails during write-netplan", faults={_NETPLAN: ActionFault.POWER_CUT}),
    Scenario("action-timeout", "write-netplan outlives its timeout", faults={_NETPLAN: ActionFault.TIMEOUT}),
    Scenario("exit-code", "write-netplan exits with 1", faults={_NETPLAN: ActionFault.COMPLAINS}),
    Scenario("bad-compression", "the image has a suffix that image2disk does not know",
             faults={_STREAM: ActionFault.COMPRESSION}),
    Scenario("no-space", "the machine's memory does not hold the action's image", hook_ssh=True,
             faults={_STREAM: ActionFault.NO_SPACE}),
    Scenario(
        "boot-action-running", "the last action reboots, so SUCCESS never comes", last=Last.REBOOT, in_hook=True,
        toggle=False,
    ),
    Scenario(
        "kexec-hang", "the machine hangs between two kernels", last=Last.KEXEC, kexec_hangs=True, in_hook=True,
        toggle=False,
    ),
    Scenario("success-old-system", "SUCCESS, but the disk still boots the old system", disk_takes=False),
    Scenario("still-streaming", "the image takes its time", faults={_STREAM: ActionFault.STUCK}, hook_ssh=True),
    Scenario("never-netbooted", "the firmware boots the disk whatever DHCP offers", firmware=Firmware.DISK),
)  # fmt: skip
BEGUN: Mapping[str, Scenario] = {
    **{scenario.name: replace(scenario, begun=True) for scenario in _BEGUN},
    "stray-window": Scenario("stray-window", "netboot was left open", stray=True),
}
"""Stories in which somebody else has begun, and it hangs: for `fab troubleshoot`."""
SCENARIOS: Mapping[str, Scenario] = {**{scenario.name: scenario for scenario in _ALL}, **BEGUN}


def scenario(name: str | Scenario, **changes: object) -> Scenario:
    """The scenario of that name, with fields changed; raises LabError that lists the names."""
    if isinstance(name, Scenario):
        return replace(name, **changes)  # type: ignore[arg-type]
    if name not in SCENARIOS:
        raise LabError(f"no scenario {name!r}; there are: {', '.join(SCENARIOS)}")
    return replace(SCENARIOS[name], **changes)  # type: ignore[arg-type]
