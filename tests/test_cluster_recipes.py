"""The recipes for clusters are what they say: they parse, and the commands in them are commands of ours."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from fnkd_core.cli.program import _parser
from fnkd_core.paths import project_dir

DOCS = project_dir() / "docs" / "cluster"
# Which nodes there are; the head answers once it was started; ours waits for the other nodes, if any were started.
NODES = {
    "scontrol": "echo n1\necho n2\n",
    "ray": 'if [ "$1" = status ]; then grep -qx -e --head "$CALLS"; fi\n',
    "fnkd": 'for _ in $(seq 500); do grep -qx -e --head "$CALLS" || break; [ "$(grep -cx start "$CALLS")" -ge 4 ] && '
    "break; sleep 0.1; done\n",  # by srun and by ray itself, on the head and on the other
}
STUB = """#!/usr/bin/env bash
# What is begun in the background takes notes at the same time, and bash writes line by line.
exec 9>> "$CALLS.lock"
flock 9
printf "%s\\n" "$(basename "$0")" "$@" END >> "$CALLS"
echo "${RAY_AUTH_MODE-} ${RAY_AUTH_TOKEN-}" >> "$CALLS.tokens"
exec 9>&-
"""
SLURM = {"SLURM_JOB_ID": "7041", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_NUM_NODES": "2", "SLURM_GPUS_ON_NODE": "4"}
SLURM |= {"SLURM_CPUS_PER_TASK": "16"}


def parsed(command: list[str]) -> None:
    """Have a command read by the real command line; a wrong one is a `UserError`."""
    assert command[0] == "fnkd"
    _parser().parse_args(command[1:])


def commands_of(text: str) -> list[list[str]]:
    """The `fnkd` commands among the lines of a text."""
    lines = re.findall(r"^(?:#\s+)?(fnkd .+)$", text, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.parametrize("name", ["../cluster.md", "ray.yaml"])
def test_every_command_in_a_recipe_is_one_of_ours(name: str) -> None:
    commands = commands_of((DOCS / name).read_text())
    assert {command[1] for command in commands} >= {"compare", "train", "extract"}
    for command in commands:
        parsed(command)
        assert command[command.index("--engine") + 1] == "ray" and "--address" in command


def test_every_option_and_file_that_the_page_names_is_there() -> None:
    text = (DOCS.parent / "cluster.md").read_text()
    ours = {
        "--engine",
        "--address",
        "--cpus-per-run",
        "--gpus-per-run",
        "--devices",
        "--threads",
        "--background",
    }
    known = {o for c in ("compare", "train", "extract") for o in options_of(c)}
    assert ours <= set(re.findall(r"--[a-z-]+", text)) and ours <= known
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert links and all((DOCS.parent / link).exists() for link in links)


def options_of(command: str) -> set[str]:
    subparsers = next(a for a in _parser()._actions if hasattr(a, "choices") and a.choices)
    return set(subparsers.choices[command]._option_string_actions)  # type: ignore[index]


def test_the_launcher_s_file_says_what_a_local_cluster_needs() -> None:
    config = yaml.safe_load((DOCS / "ray.yaml").read_text())
    assert config["provider"]["type"] == "local" and config["provider"]["head_ip"]
    assert config["min_workers"] == config["max_workers"] == len(config["provider"]["worker_ips"])
    assert set(config["auth"]) == {"ssh_user"} and "~/.ray/auth_token" in config["file_mounts"]
    for commands, option in (("head_start_ray_commands", "--head"), ("worker_start_ray_commands", "--address=")):
        stop, start = config[commands]
        assert stop.endswith("ray stop") and option in start
        assert "RAY_AUTH_MODE=token ray start" in start and "--min-worker-port" in start


def test_what_the_launcher_s_file_starts_is_a_head_and_nodes_that_find_it(tmp_path: Path) -> None:
    """Its commands are run as on the nodes, with `ray` replaced by one that takes notes."""
    config = yaml.safe_load((DOCS / "ray.yaml").read_text())
    tools = tmp_path / "fnkd-lab" / ".venv" / "bin"
    tools.mkdir(parents=True)
    (tools / "ray").write_text(STUB)
    (tools / "ray").chmod(0o755)
    (tools / "activate").write_text(f'PATH="{tools}:$PATH"\n')
    (token := tmp_path / ".ray" / "auth_token").parent.mkdir()
    token.write_text("secret")
    token.chmod(0o644)
    calls = tmp_path / "calls.txt"
    told = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CALLS": str(calls), "RAY_HEAD_IP": "10.0.0.1"}
    for key in ("initialization_commands", "setup_commands", "head_start_ray_commands", "worker_start_ray_commands"):
        for command in config[key]:
            text = command.replace("/SHARED", str(tmp_path))
            done = subprocess.run(["bash", "-c", text], env=told, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
    assert token.stat().st_mode & 0o077 == 0
    stopped, head, again, node = (call.splitlines() for call in calls.read_text().split("END\n") if call)
    assert stopped == again == ["ray", "stop"] and head[:3] == ["ray", "start", "--head"]
    assert node[:3] == ["ray", "start", "--address=10.0.0.1:6379"] and "--port=6379" in head
    assert {*node} - {*head} == {"--address=10.0.0.1:6379"}  # the same ports on each
    assert calls.with_suffix(".txt.tokens").read_text().split() == ["token"] * 2


def run_slurm(mode: str, folder: Path, **changes: str) -> list[list[str]]:
    """The commands that the job runs, with the programs of Slurm, of Ray and ours replaced by ones that take notes."""
    tools = folder / "bin"
    tools.mkdir(exist_ok=True)
    for name in ("srun", "scontrol", "ray", "fnkd", "torchrun"):
        # srun runs what it is given: the first word that is no option of its own, and all after it.
        body = STUB + ('while [ "${1#-}" != "$1" ]; do shift; done\nexec "$@"\n' if name == "srun" else "")
        body += NODES.get(name, "")
        (tools / name).write_text(body)
        (tools / name).chmod(0o755)
    calls = folder / "calls.txt"
    calls.write_text("")
    environment = {"PATH": f"{tools}:{os.environ['PATH']}", "CALLS": str(calls), "FNKD_HOME": str(folder / "home")}
    environment |= SLURM | {"TEACHER": "digits-teacher", "DATASET": "digits"} | changes
    done = subprocess.run(
        ["bash", str(DOCS / "slurm.sh"), mode], env=environment, capture_output=True, text=True, timeout=60, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return [call.splitlines() for call in calls.read_text().split("END\n") if call]


def test_the_job_for_slurm_is_a_script_with_what_sbatch_reads() -> None:
    assert subprocess.run(["bash", "-n", str(DOCS / "slurm.sh")], check=False).returncode == 0
    told = dict(re.findall(r"^#SBATCH --([a-z-]+)=?(\S*)$", (DOCS / "slurm.sh").read_text(), re.MULTILINE))
    assert told["nodes"] == "2" and told["ntasks-per-node"] == "1" and "requeue" in told


@pytest.mark.parametrize("mode", ["train", "seeds", "compare", "extract"])
def test_a_job_for_slurm_runs_commands_that_are_ours(mode: str, tmp_path: Path) -> None:
    calls = run_slurm(mode, tmp_path, SLURM_ARRAY_TASK_ID="3")
    ours = [call for call in calls if call[0] == "fnkd"]
    assert len(ours) == 1
    parsed(ours[0])
    assert ("--engine" in ours[0]) == (mode in ("compare", "extract"))


def test_a_run_that_was_requeued_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "runs" / "mine"
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text("{}")
    told = {"RUN": "mine", "SLURM_ARRAY_TASK_ID": "3"}
    for mode, nodes in (("train", "2"), ("seeds", "1")):
        calls = run_slurm(mode, tmp_path, **told, SLURM_JOB_NUM_NODES=nodes)
        ours = next(call for call in calls if call[0] == "fnkd")
        parsed(ours)
        # Nodes that share a run give the same command again, see `fnkd train --help`.
        assert ours[1] == "train" and "--nodes" in ours if nodes == "2" else ours[1:3] == ["runs", "resume"]
        assert str(folder) in ours


def test_the_job_s_own_cluster_has_a_token_and_all_its_nodes(tmp_path: Path) -> None:
    calls = [call for call in run_slurm("compare", tmp_path) if call[0] in ("ray", "fnkd")]
    head = next(c for c in calls if "--head" in c)
    others = [c for c in calls if c[:2] == ["ray", "start"] and "--head" not in c]
    assert "--port=27041" in head and "--address=n1:27041" in others[0]
    fnkd = next(c for c in calls if c[0] == "fnkd")
    assert fnkd[fnkd.index("--address") + 1] == "n1:27041" and fnkd[fnkd.index("--cpus-per-run") + 1] == "4"
    told = set((tmp_path / "calls.txt.tokens").read_text().splitlines()) - {" "}
    assert len(told) == 1 and re.fullmatch("token [0-9a-f]{64}", told.pop()), (
        "one, and the same for all that come after"
    )
