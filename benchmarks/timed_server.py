"""The dashboard's server, which writes down how long each run of its script took: what a click costs where it is done.

    python benchmarks/timed_server.py TIMES app.py --server.port 8600

TIMES gets a line of JSON for each run of a page or of a part of it, when it ends: begun (seconds of the epoch), wall_s,
cpu_s (of the thread that ran it), page (hash, as the browser names it), fragment (whether only a part was run).
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from streamlit.runtime.scriptrunner.script_runner import ScriptRunner
from streamlit.web.cli import main

run_script = ScriptRunner._run_script
times = sys.argv[1]  # Streamlit makes the arguments those of the script
writing = threading.Lock()


def timed(self: ScriptRunner, rerun_data: Any) -> None:
    begun, wall, cpu = time.time(), time.perf_counter(), time.thread_time()
    try:
        run_script(self, rerun_data)
    finally:
        row = {
            "begun": begun,
            "wall_s": time.perf_counter() - wall,
            "cpu_s": time.thread_time() - cpu,
            "page": rerun_data.page_script_hash,
            "fragment": bool(rerun_data.fragment_id_queue),
        }
        with writing, open(times, "a") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    ScriptRunner._run_script = timed  # type: ignore[method-assign]
    sys.exit(main(["run", *sys.argv[2:]]))
