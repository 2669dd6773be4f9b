"""Installed from a wheel the dashboard is whole, and keeps what users make in their own data folder."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest

from fnkd_core.paths import project_dir
from tests.waiting import until, until_it_serves

APP = "fnkd_core/_app/"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(project_dir())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = out.glob("*.whl")
    return found


def test_a_wheel_holds_the_dashboard_and_nothing_that_users_made(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {
        f"{APP}app.py", f"{APP}.streamlit/config.toml", f"{APP}static/icon.png",
        "fnkd_core/models/index.json", "fnkd_core/ui/components/temperature_lab/lab.js",
        "fnkd_core/ui/components/gallery/gallery.css",
    } <= set(names)  # fmt: skip
    pages = {path.name for path in (project_dir() / "pages").glob("*.py")}
    assert {Path(name).name for name in names if name.startswith(f"{APP}pages/")} == pages
    shipped = {Path(name).stem for name in names if name.startswith(f"{APP}checkpoints/digits-")}
    assert shipped == {"digits-teacher", "digits-ce", "digits-kd", "digits-fn"}
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"fnkd_core"}
    assert {name[len(APP) :].split("/")[0] for name in names if name.startswith(APP)} == {
        "app.py", "pages", "static", "checkpoints", ".streamlit",
    }  # fmt: skip
    assert not [name for name in names if "__pycache__" in name or "secrets" in name]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a user who installed the wheel somewhere else; its packages are those of this one."""
    place = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(place), str(wheel)]
    subprocess.run(command, check=True, capture_output=True)
    kept = {k: v for k, v in os.environ.items() if k not in ("FNKD_HOME", "PYTHONPATH")}
    home = tmp_path_factory.mktemp("somebody")
    return kept | {"PYTHONPATH": str(place), "HOME": str(home), "XDG_DATA_HOME": str(home / "data")}


def listing(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if "__pycache__" not in path.parts}


def test_installed_elsewhere_the_command_line_trains_into_the_user_s_data_folder(
    installed: dict[str, str], tmp_path: Path
) -> None:
    place, data = Path(installed["PYTHONPATH"]), Path(installed["XDG_DATA_HOME"])
    before = listing(place)

    def fnkd(*arguments: str) -> dict:
        command = [sys.executable, "-m", "fnkd_core", *arguments, "--json"]
        done = subprocess.run(command, cwd=tmp_path, env=installed, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    names = {row["name"]: row["path"] for row in fnkd("checkpoints", "list")["checkpoints"]}
    assert names["digits-teacher"].startswith(str(place))
    run = fnkd("train", "--dataset", "digits", "--method", "kd", "--teacher", "digits-teacher", "--epochs", "1",
               "--per-class", "4", "--threads", "1")  # fmt: skip
    assert run["state"] == "finished" and Path(run["path"]).is_relative_to(data / "fnkd-lab" / "runs")
    waiting = fnkd("train", "--dataset", "digits", "--method", "ce", "--epochs", "1", "--per-class", "4",
                   "--threads", "1", "--background")  # fmt: skip
    until((Path(waiting["path"]) / "end.json").exists)  # each question to the command is a process of its own
    assert fnkd("runs", "show", waiting["id"])["state"] == "finished"
    assert listing(place) == before


def test_installed_elsewhere_the_dashboard_starts_and_serves_its_pages(
    installed: dict[str, str], tmp_path: Path
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "fnkd_core", "app", "--port", str(port)],
            cwd=tmp_path, env=installed, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        until_it_serves(server, port, tmp_path / "log")
        for path in ("", "norms", "app/static/fonts/inter-latin-wght-normal.woff2"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}") as response:
                assert response.status == 200 and response.read(100)
    finally:
        server.kill()
        server.wait(240)


def test_the_pages_of_the_wheel_run(installed: dict[str, str], tmp_path: Path) -> None:
    code = (
        "from streamlit.testing.v1 import AppTest; from fnkd_core.paths import project_dir;"
        "app = AppTest.from_file(str(project_dir() / 'app.py'), default_timeout=300).run();"
        "app.switch_page('pages/distill.py').run(); print(app.title[0].value, list(app.exception))"
    )
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "config.toml").write_text('[server]\naddress = "127.0.0.1"\n')
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=installed, capture_output=True, text=True)
    assert done.stdout.strip() == "Distill []", done.stdout + done.stderr
