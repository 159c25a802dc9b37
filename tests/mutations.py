"""Each safety step, taken out of a copy of the tree, must be missed by its test: `python -m tests.mutations [WORDS]`.

To add a step: a `Step` below. A text that is no longer found there is a fault, too: the step has moved.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SAFETY = "tests/site/test_safety.py"
LIFE = "tests/site/test_claim_life.py"
PATCHES = "tests/commands/test_netboot.py"
EXPOSURE = "tests/site/test_exposure.py"
FLOOD = "tests/transport/test_bounds.py::test_a_flood_is_cut_off_and_the_host_is_usable_afterwards"
LAB = "tests/lab/test_verdict.py"
KEYS = "tests/transport/test_host_keys.py"
CLUSTER, OBJECTS = "tests/runs/test_guard_cluster.py", "tests/commands/test_guard_cluster.py"
GATES = "tests/transport/test_gates.py"


@dataclass(frozen=True)
class Step:
    """`what` is lost when `text` in the module `path` becomes `without`; `test` fails then."""

    what: str
    path: str
    text: str
    without: str
    test: str


STEPS = (
    Step("Smee is asked before netboot counts as closed", "site/proof.py",
         "if seen.smee is not None and smee.says_open(seen.smee):", "if False:",
         f"{SAFETY}::test_while_smee_serves_the_installer_nothing_counts_as_closed"),
    Step("the guard's word is seen before netboot opens", "site/guarding.py", "        if not self.name:\n",
         "        if False:\n",
         f"{SAFETY}::test_a_guard_whose_word_stays_away_is_none"),
    Step("the guard's word is seen at each heartbeat", "site/window.py",
         "        if not (self.guard.due or (force and renewed)):\n", "        if True:\n",
         f"{SAFETY}::test_a_guard_that_dies_is_missed_at_the_next_heartbeat"),
    Step("a word that a watch shows is as old as the renewal", "site/guarding.py",
         "        self.seen = seen\n", "        self.seen = self._site.clock.now()\n",
         "tests/site/test_shared_word.py::test_a_word_that_waited_for_us_is_as_old_as_the_renewal"),
    Step("nothing is opened on an old word of the guard", "site/window.py", "        self._sure_of_guard()\n", "",
         f"{SAFETY}::test_nothing_is_opened_on_an_old_word"),
    Step("what the guard has shut is not opened", "site/window.py", "        if self.guard.shut:\n            raise",
         "        if False:\n            raise",
         f"{SAFETY}::test_what_the_guard_has_shut_is_not_opened"),
    Step("a guard's word counts for its own renewal alone", "commands/claims.py",
         "words[1:3] != [claim.run, str(claim.note.renewal)]", "words[1] != claim.run",
         f"{PATCHES}::test_a_guards_word_counts_for_the_renewal_that_it_names"),
    Step("the heartbeat renews the claim", "site/claim.py",
         "note = self._renewed(self.note)\n        deadline", "note = self.note\n        deadline",
         f"{LIFE}::test_the_heartbeat_is_due_at_a_third_of_the_lease"),
    Step("whoever takes a run up starts a guard with the claim", "runs/phases/claim.py",
         "window.guard.ask)", "lambda renewal: [])",
         f"{SAFETY}::test_who_takes_a_run_up_takes_claim_and_guard_in_one_exec"),
    Step("the guard closes a window whose claim was taken away", "commands/guard.sh",
         '[ -z "$open" ] || [ -z "$known" ] || verdict=close-claim-gone', ":",
         "tests/guard/test_rule.py::test_the_script_decides_as_the_table_says"),
    Step("the guard ends a lease that is not renewed", "commands/guard.sh",
         '[ "$age" -ge "$lease" ]', "false", "tests/guard/test_rule.py::test_the_script_decides_as_the_table_says"),
    Step("the guard's acknowledgements give way to what is to be closed", "commands/guard.sh",
         "DUE=yes left=0 ;;", "DUE=yes ;;",
         "tests/guard/test_closing.py::test_what_is_to_be_closed_does_not_wait_for_acknowledgements"),
    Step("no lease ends a moment too early", "commands/guard.sh",
         "since=$((NOW + 1))", "since=$NOW", "tests/guard/test_closing.py::test_a_lease_ends_no_moment_too_early"),
    Step("the guard patches what it has read and nothing else", "commands/guard.sh",
         """printf '{"op":"test","path":"/metadata/resourceVersion","value":"%s"}' "$version\"""",
         """printf '{"op":"test","path":"/metadata/name","value":"%s"}' "$name\"""",
         "tests/guard/test_closing.py::test_a_patch_that_comes_too_late_is_refused_and_read_anew"),
    Step("a newer guard goes on counting a lease", "commands/guard.sh",
         'MEMORY=$nl${kept#*"$nl"} #', ": #",
         "tests/guard/test_life.py::test_a_newer_one_goes_on_counting_the_lease"),
    Step("the jump host's time counts for claims", "site/site.py", ".wall + self.jump_time.ahead", ".wall",
         "tests/site/test_jump_time.py"),
    Step("no server is claimed that another run has had since it was looked at", "commands/netboot.py",
         "for key in RUN_MARKS]", "for key in ()]",
         "tests/lab/test_broken_claim.py::test_who_was_asked_about_another_system_than_there_is_now_does_not_claim"),
    Step("a Workflow is removed under our own claim alone", "site/claim.py",
         "after=held[0].name)", "after='')",
         "tests/lab/test_broken_claim.py::test_at_release_the_server_of_another_run_is_left_alone"),
    Step("what was left on its way is waited for", "site/window.py",
         "if not self.site.left.tickets or self.theirs:", "if True:",
         "tests/faults/test_late.py::test_an_interrupted_run_leaves_nothing_that_comes_later"),
    Step("what has not begun when it is settled never does", "commands/script.py",
         '|| exit 9 ;; esac', '|| : ;; esac',
         "tests/commands/test_script.py::test_what_has_not_begun_never_does_once_it_is_settled"),
    Step("a lost claim stops every WRITE", "site/claim.py", "            raise self.lost\n\n    def release",
         "            return\n\n    def release",
         f"{LIFE}::test_a_client_that_slept_refuses_when_the_server_went_to_another"),
    Step("a protected server is not claimed", "site/claim.py",
         "            refuse_protected({self._server.name: self.hardware})\n", "",
         "tests/site/test_protection.py::test_nobody_claims_or_opens_it"),
    Step("a protection that comes after the look refuses the claim", "commands/netboot.py",
         "    operations.append(_test(_annotation(PROTECTED), None))\n", "",
         "tests/site/test_protection.py::test_one_that_comes_after_the_look_is_heeded"),
    Step("who claims a server at the same time is not protected against", "commands/protection.py",
         ", {RUN: hardware.annotations.get(RUN)}", "",
         "tests/site/test_protection.py::test_who_claims_it_at_the_same_time_keeps_it"),
    Step("a person is asked before a claim is broken", "ui/tasks/netboot.py",
         "if ask:\n        question = f\"This takes", "if not ask:\n        question = f\"This takes",
         "tests/lab/test_console.py::test_breaking_a_claim_is_asked_for"),
    Step("netboot is seen closed before the new system reboots", "runs/phases/stay.py",
         '    run.close("the new system reboots")\n', "",
         "tests/lab/test_stay.py::test_it_is_rebooted_only_after_netboot_was_seen_closed_once_more"),
    Step("another system than before is no comeback", "runs/phases/stay.py",
         "if other := _another(before, look):", 'if other := "":',
         "tests/lab/test_stay.py::test_another_system_comes_back"),
    Step("netboot is seen open just before the reboot", "runs/ladder.py",
         "            self._run.window.ensure_open()\n            try:", "            try:",
         "tests/runs/test_install.py::test_a_window_that_was_shut_meanwhile_is_opened_before_the_reboot"),
    Step("a machine that an agent has is rebooted by no other way", "runs/ladder.py",
         "while not (self._tried and self._run.ran_meanwhile()):", "while True:",
         "tests/runs/test_install.py::test_a_machine_that_an_agent_has_meanwhile_is_not_switched_off"),
    Step("a protected server is not switched by hand", "runs/power.py",
         "    refuse_protected({server.name: hardware})\n", "",
         "tests/lab/test_power.py::test_a_server_that_is_protected_held_or_open_is_left_alone"),
    Step("a server that a live run holds is not switched by hand", "runs/power.py",
         '    Window(site, server, "").claim.refuse_live(hardware)\n', "",
         "tests/lab/test_power.py::test_a_server_that_is_protected_held_or_open_is_left_alone"),
    Step("a server whose netboot is open is not booted by hand", "runs/power.py",
         "    if boots and hardware.open_interfaces():\n", "    if False:\n",
         "tests/lab/test_power.py::test_a_server_that_is_protected_held_or_open_is_left_alone"),
    Step("a silent machine is begun with only where something can reboot it", "runs/phases/preflight.py",
         "or not run.ssh_alone\n", "or True\n",
         "tests/runs/test_provision_run.py::test_what_can_reboot_a_silent_machine_decides_whether_it_is_begun_with"),
    Step("no Job is made for a BMC that nobody can reach", "site/bmc.py", ', after="machine")', ")",
         "tests/site/test_bmc.py::test_without_its_machine_no_job_is_made_for_rufio_would_try_for_ever"),
    Step("a Job whose reply is lost is never sent again", "site/bmc.py",
         "            if error.sent and self._is_there(job):\n                return\n            raise\n",
         "            outcomes = self._run(script(parts, effect=Effect.WRITE), deadline)\n",
         "tests/site/test_bmc.py::test_a_job_whose_reply_is_lost_is_looked_for_and_never_sent_again"),
    Step("netboot is seen open just before a reboot is sent again", "runs/ladder.py",
         "        run.window.ensure_open()\n        try:\n            self._over_ssh(",
         "        try:\n            self._over_ssh(",
         "tests/runs/test_install.py::test_a_reboot_that_is_not_heeded_is_sent_again_and_then_forced_always_under_an_open_"
         "window"),
    Step("netboot is read again after a sleep", "site/window.py", "        if self.stale:\n", "        if False:\n",
         f"{EXPOSURE}::test_a_window_that_was_shut_during_a_sleep_is_opened_again"),
    Step("the claim is given back in the patch that closes", "commands/netboot.py",
         "operations = [*close(hardware, run), *_given_back()]",
         "operations = [_test(_annotation(RUN), run), *_given_back()]",
         f"{PATCHES}::test_a_claim_is_given_back_in_the_patch_that_closes"),
    Step("what is read after the release is closed", "site/window.py",
         "if after.open_interfaces() and not self._is_theirs(after):", "if False:",
         f"{EXPOSURE}::test_what_is_seen_open_after_the_claim_was_given_back_is_closed"),
    Step("a proof is dropped when netboot is seen open again", "site/exposure.py",
         "self.opened, self.proof = True, None", "self.opened = True",
         f"{EXPOSURE}::test_a_proof_is_younger_than_the_last_time_it_was_open"),
    Step("what Tinkerbell's toggle may write yet is waited for", "site/window.py",
         "            self._outwait_toggle()\n", "",
         f"{EXPOSURE}::test_a_toggle_in_flight_leaves_no_window"),
    Step("what another live run has closed is not our proof", "site/window.py",
         "                if self.theirs:\n", "                if False:\n",
         f"{EXPOSURE}::test_what_another_live_run_has_closed_is_its_own_even_while_tinkerbell_may_open_it_for_us"),
    Step("what another live run has opened is left to it", "site/window.py",
         "if self._is_theirs(hardware) or not (", "if not (",
         f"{EXPOSURE}::test_what_another_live_run_was_seen_to_hold_is_not_closed_under_its_name"),
    Step("another machine is no new system", "runs/verdict.py",
         "    if is_stranger(run, look):\n", "    if False:\n",
         "tests/runs/test_verdicts.py::test_another_machine_is_certain_when_it_goes_on_answering[judge-another MAC]"),
    Step("the old system stays on the Hardware until a run has ended well", "commands/netboot.py",
         "if well and OLD_SYSTEMS in", "if OLD_SYSTEMS in",
         f"{PATCHES}::test_the_old_systems_stay_until_a_run_has_ended_well"),
    Step("the agent that a Template names is this server's", "runs/worker.py", "    if strange is not None:\n",
         "    if False:\n",
         f"{LAB}::test_a_workflow_for_another_machines_agent_is_refused_and_that_machine_is_not_wiped"),
    Step("the output of a host is bounded", "transport/ssh.py", "room = command.most", "room = 2**40",
         f"{FLOOD}[head -c 1200000 /dev/zero]"),
    Step("a name is one before it is a word of a command", "commands/kubectl.py", "if not is_object_name(name):",
         "if False:", "tests/commands/test_names.py::test_what_no_object_can_be_called_makes_no_command"),
    Step("a note's Workflow is a name or none", "commands/claims.py",
         'words["workflow"] if is_object_name(words["workflow"]) else ""', 'words["workflow"]',
         "tests/commands/test_names.py::test_a_note_names_a_workflow_or_none"),
    Step("where the canary fails no other begins", "runs/fleet.py", '"canary" if name in self._canaries else', "",
         "tests/runs/test_fleet.py::test_no_other_begins_where_the_canary_fails_whatever_the_budget"),
    Step("a window that may be open begins no other", "runs/fleet.py",
         "        if report.exit_code == UnsafeError.exit_code:\n", "        if False:\n",
         "tests/runs/test_fleet.py::test_a_window_that_may_be_open_and_an_interrupt_stop_it_in_any_case"),
    Step("a second interrupt reaches a run that takes back what it did", "transport/clock.py",
         "            if not self._insisted:\n                self._event.clear()", "            self._event.clear()",
         "tests/runs/test_fleet.py::test_who_takes_back_what_he_did_is_left_alone_until_it_is_asked_again"),
    Step("a run does not believe what a shared watch tells of an earlier Workflow", "site/cluster.py",
         "elif kind == WORKFLOWS and not _older(item, since):", "elif kind == WORKFLOWS:",
         "tests/site/test_watching.py::test_what_was_true_of_an_earlier_workflow_of_that_name_is_left_out"),
    Step("who joins a watch while it is asked what is there knows better", "site/watching.py",
         "            asking = list(feed.boxes)", "            asking = feed.boxes",
         "tests/site/test_watching.py::test_who_joins_while_it_is_asked_what_is_there_knows_better"),
    Step("a pinned host key is the only one", "transport/host_keys.py",
         "if self.pinned and not is_pinned(self.pinned, key):", "if False:",
         f"{KEYS}::test_a_pinned_key_is_the_only_one_whatever_the_policy"),
    Step("a certificate counts under an authority that is trusted for the host", "transport/host_keys.py",
         "(certificate and not self._doubt(certificate))", "certificate",
         f"{KEYS}::test_a_certificate_counts_where_its_authority_is_trusted_and_nothing_is_wrong_with_it"),
    Step("a revoked authority certifies nothing", "transport/host_keys.py",
         'certificate.authority if certificate else ""}', '""}',
         f"{KEYS}::test_a_certificate_of_a_revoked_authority_is_refused"),
    Step("a machine that lives keeps its power where it lets nobody in", "runs/power.py",
         "        except ANSWERS:\n            raise\n", "",
         "tests/lab/test_power.py::test_a_system_that_lets_nobody_in_keeps_its_power"),
    Step("what runs under sudo is ended through sudo", "transport/this_computer.py",
         'if gone or not _told_by_sudo("kill", word, "--", f"-{self.group}"):', "if True:",
         "tests/transport/test_this_computer.py::test_what_runs_under_sudo_is_ended_as_well"),
    Step("an option with an empty value is not one that is not given", "ui/tasks/command_line.py",
         "if not own and argument.name not in MAY_BE_EMPTY and", "if False and",
         "tests/ui/test_command_line.py::test_an_empty_value_is_refused_wherever_it_could_mean_something"),
    Step("a fleet of which one was not begun does not end well", "runs/fleet_report.py",
         "if not_begun and codes <= {0}:", "if False:",
         "tests/runs/test_fleet.py::test_where_one_was_not_begun_the_end_is_not_good"),
    Step("what was silent when it was shown is not rebooted over SSH", "runs/ladder.py",
         "self._left = list(taken(run))", "self._left = list(run.rungs)",
         "tests/runs/test_install.py::test_what_was_silent_when_it_was_shown_is_not_rebooted_over_ssh"),
    Step("where SSH is the only way a machine that was silent says who it is first", "runs/ladder.py",
         "if run.target.facts_now is None and self._is_installer():", "if False:",
         "tests/runs/test_install.py::test_it_is_not_rebooted_where_it_is_another_or_does_not_tell"),
    Step("who answers is known before it is rebooted by hand", "runs/power.py",
         "if not refuse_stranger(machine, hardware, old, look):", "if False:",
         "tests/lab/test_power.py::test_another_machine_at_its_address_is_not_rebooted_and_nothing_else_is_tried"),
    Step("the installer is not what a reboot by hand was to bring", "runs/power.py",
         "                _refuse_installer(machine, look)\n", "",
         "tests/lab/test_power.py::test_the_installer_is_not_what_a_reboot_was_to_bring"),
    Step("what Tinkerbell power-cycles is not rebooted by us as well", "runs/provision_run.py",
         "return (TINKERBELL, *ours) if self.target.document.is_power_cycled else ours", "return ours",
         "tests/lab/test_bmc.py::test_a_machine_that_tinkerbell_power_cycles_is_not_rebooted_by_us"),
    Step("where another answers the reboot no other way is taken", "runs/ladder.py",
         "            except ANSWERS:\n                raise\n", "",
         "tests/runs/test_install.py::test_where_another_answers_the_reboot_no_other_way_is_taken"),
    Step("who refuses our keys is not power-cycled unasked", "runs/phases/preflight.py",
         'if isinstance(error, AuthError) and "ssh" in run.rungs:', "if False:",
         "tests/runs/test_preflight_slow.py"),
    Step("a published host key overrides no known one", "transport/host_keys.py",
         "known = lines if self.known else lines +", "known = lines +",
         f"{KEYS}::test_a_published_key_overrides_no_line_of_known_hosts"),
    Step("a server that publishes its keys may show no other", "transport/host_keys.py",
         "        if self.published:\n            raise self._not_published(key)\n", "",
         f"{KEYS}::test_a_published_key_overrides_no_line_of_known_hosts"),
    Step("an Event is made only of a patch that was applied", "commands/script.py",
         "if part.after else call)", "if False else call)",
         "tests/commands/test_script.py::test_a_part_that_goes_after_another_is_run_only_where_that_ended_well"),
    Step("a sweeper goes only when the guard guards", "runs/guard_cluster.py", "    _await(site)\n", "",
         f"{CLUSTER}::test_where_it_does_not_guard_the_sweeper_stays"),
    Step("while runs hold servers the guard stays in the cluster", "runs/guard_cluster.py",
         "    if held and not force:\n", "    if False:\n",
         f"{CLUSTER}::test_while_runs_hold_servers_it_is_removed_only_by_force"),
    Step("a pod of an earlier form is no proof that the guard guards", "commands/workload.py",
         'if _whole(status.get("observedGeneration")) < _whole(meta.get("generation")):', "if False:",
         f"{OBJECTS}::test_a_guard_that_is_not_there_yet"),
    Step("in a pod kubectl is who the ServiceAccount is", "commands/guard.yaml",
         '            - {name: BOUND, value: ""} #', '            #',
         f"{OBJECTS}::test_kubectl_is_called_in_the_image_as_the_inventory_says_and_without_a_limit_of_its_own"),
    Step("a person is asked before the guard leaves the cluster", "ui/tasks/guard_cluster.py",
         'typed("remove", ', 'str("remove" and ',
         "tests/lab/test_guard_cluster.py::test_without_a_terminal_nothing_is_installed_and_nothing_removed"),
    Step("plan mode lets only READ pass", "transport/gates.py",
         "if command.effect is Effect.READ:\n            return\n",
         "if command:\n            return\n", GATES),
    Step("a cancellation stops every WRITE", "transport/gates.py",
         "if command.effect is Effect.WRITE and self._cancel.reason:", "if False:", GATES),
)  # fmt: skip


def survives(step: Step) -> str:
    """Why the step's loss goes unnoticed; "" where its test fails."""
    with tempfile.TemporaryDirectory(prefix="metalfoundry-mutation-") as folder:
        tree = Path(folder)
        for name in ("metalfoundry", "tests"):
            shutil.copytree(REPOSITORY / name, tree / name)  # what is compiled stays valid, but for the module
        shutil.copy(REPOSITORY / "pyproject.toml", tree)
        path = tree / "metalfoundry" / step.path
        text = path.read_text()
        if text.count(step.text) != 1:
            return f"{step.path} has its text {text.count(step.text)} times"
        path.write_text(text.replace(step.text, step.without))
        words = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-o", "addopts=", step.test]
        env = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(words, cwd=tree, env=env, capture_output=True, text=True, timeout=300)
        if done.returncode == 1 and " failed" in done.stdout:
            return ""
        return f"{step.test} ends with {done.returncode}: {(done.stdout or done.stderr).splitlines()[-1:]}"


def main() -> int:
    """All steps whose words hold those of the command line; the exit code says whether one went unnoticed."""
    steps = [step for step in STEPS if all(word in step.what for word in sys.argv[1:])]
    with ThreadPoolExecutor(2) as pool:
        left = list(zip(steps, pool.map(survives, steps), strict=True))
    for step, why in left:
        print(f"{'NOT NOTICED' if why else 'noticed'}: {step.what}{f': {why}' if why else ''}")
    return int(any(why for _, why in left))


if __name__ == "__main__":
    sys.exit(main())
