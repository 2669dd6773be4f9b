"""A process without torch has another one extract for it; whoever asks meanwhile waits, and what goes wrong is said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from fnkd_core.paths import environment, project_dir

SERVER = """
import json, sys, threading, subprocess
from fnkd_core.checkpoints.library import entry_of, find_checkpoint
from fnkd_core.data import dataset_info
from fnkd_core.errors import UserError
from fnkd_core.stores import apart
from fnkd_core.stores.store import open_store, lock_of, store_path

info, entry = dataset_info("digits"), find_checkpoint("digits-ce")
started, real, said = [], apart._started, {}

def counted(final):
    child = real(final)
    started.extend([child] * (child is not None))
    return child

def ask(name):
    try:
        said[name] = list(apart.extract_apart([entry], info, "test"))[-1:]
    except Exception as error:
        said[name] = repr(error)

apart._started = counted
threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
[t.start() for t in threads], [t.join() for t in threads]
said["made"], said["processes"] = open_store(entry, info, "test") is not None, len(started)

entry = find_checkpoint("digits-kd")
asking = apart.extract_apart([entry], info, "test")
next(asking)
asking.close()
said["left"] = [p.name for p in store_path(entry, info, "test").parent.iterdir() if "making" in p.name]

entry = entry_of(__import__("pathlib").Path(sys.argv[1]), "torn")
ask("torn")
apart._started = lambda final: subprocess.Popen(["false"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
entry = find_checkpoint("digits-teacher")
ask("dead")
print(json.dumps(said | {"torch": "torch" in sys.modules}))
"""


def test_eight_who_ask_a_server_at_once_wait_for_one_process_and_a_failure_is_a_sentence(
    home: Path, tmp_path: Path
) -> None:
    shipped = project_dir() / "checkpoints"
    (tmp_path / "torn.json").write_bytes((shipped / "digits-fn.json").read_bytes())
    (tmp_path / "torn.safetensors").write_bytes((shipped / "digits-fn.safetensors").read_bytes()[:-100])
    done = subprocess.run(
        [sys.executable, "-c", SERVER, str(tmp_path / "torn.safetensors")],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["made"] and said["processes"] == 1 and not said["torch"]
    assert all(isinstance(said[str(n)], list) for n in range(8)), said
    assert said["left"] == []
    assert said["torn"].startswith("UserError") and "not the file its card describes" in said["torn"]
    assert "ended without a word; free some memory and try again." in said["dead"]
