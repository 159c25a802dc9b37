"""A small world to practise in: a cluster, Tinkerbell, a jump host and machines that boot, on loopback.

    from metalfoundry.lab.lab import Lab

    with Lab(folder, scenario="reboot-last", speed=20) as lab:
        with Foundry.load(lab.inventory) as foundry:
            report = foundry.provision("colo-server-01")

`Lab` is the whole (lab.py), scenarios.py names what may go wrong in it, background.py keeps one in the background.
The lab imports nothing else of this package: it can be wrong about us, but cannot agree with us by sharing code. It
needs the extra `metalfoundry[lab]`.
"""
