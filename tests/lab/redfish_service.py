"""OpenStack's Redfish emulator with one system that is on and obeys at once: prints its URL, and ends with its stdin.

`python -m tests.lab.redfish_service UUID FOLDER`
"""

from __future__ import annotations

import sys
import threading

from sushy_tools.emulator.main import app
from sushy_tools.emulator.resources.systems import fakedriver
from werkzeug.serving import make_server

if __name__ == "__main__":
    uuid, folder = sys.argv[1:]
    fakedriver.random.randint = lambda *_: 0  # it would take up to eleven seconds to switch
    app.configure()
    app.config["SUSHY_EMULATOR_FAKE_DRIVER"] = True
    app.config["SUSHY_EMULATOR_FAKE_SYSTEMS"] = [{"uuid": uuid, "name": "fake", "power_state": "On", "nics": []}]
    app.config["SUSHY_EMULATOR_STATE_DIR"] = folder
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()
