"""`fnkd`: the core from the command line.

Every command takes `--json`, which makes its standard output one line with a JSON object; what is for people goes to
standard error then. Wrong input ends with exit code 2 and one line there; with `--json` the object holds it as `error`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from typing import Any, NoReturn

from fnkd_core import __version__
from fnkd_core.cli import checkpoints, compare, completion, data, names, outputs, runs, selections, stores, train
from fnkd_core.cli.options import Commands, Parser, formatter
from fnkd_core.cli.printable import Printable
from fnkd_core.cli.streams import lossy
from fnkd_core.errors import sentence
from fnkd_core.files import sweep
from fnkd_core.machine import collect_seldom


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    given = sys.argv[1:] if argv is None else list(argv)
    collect_seldom()
    with lossy(), redirect_stdout(Printable(sys.stdout)), redirect_stderr(Printable(sys.stderr)):
        return _main(given)


def _main(argv: list[str]) -> int:
    try:
        arguments = _parser().parse_args(argv)
        with redirect_stdout(sys.stderr) if arguments.json else nullcontext():
            result = arguments.run(arguments)
            sys.stdout.flush()
    except KeyboardInterrupt:
        return _refused(argv, "Interrupted.", 130)
    except Exception as error:
        if (said := sentence(error)) is None:
            raise
        return _refused(argv, said, 2)
    if arguments.json:
        # Strict JSON has no NaN; what is undefined is null.
        print(json.dumps(_plain(result.get("json", result))))
    return int(result.get("exit_code", 0)) if isinstance(result, dict) else 0


def _refused(argv: list[str], said: str, code: int) -> int:
    # The arguments may be what is wrong, so that nothing has read them; options may be cut short.
    if any(len(arg) > 2 and "--json".startswith(arg) for arg in argv):
        print(json.dumps({"error": said}))
    if code != 130:
        print(f"fnkd: {said}", file=sys.stderr)
    return code


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def app(a: argparse.Namespace) -> NoReturn:
    from fnkd_core.paths import project_dir

    sweep()
    program = [sys.executable, "-m", "streamlit", "run", str(project_dir() / "app.py")]
    if a.port:
        program += ["--server.port", str(a.port)]
    # The settings are read from the folder it starts in.
    os.chdir(project_dir())
    os.execv(sys.executable, program)


def _parser() -> Parser:
    parser = Parser(prog="fnkd", description=__doc__.splitlines()[0] if __doc__ else None, formatter_class=formatter)
    parser.add_argument("--version", action="version", version=f"fnkd {__version__}")
    commands = Commands(parser)
    for group in (train, runs, compare, outputs, stores, selections, checkpoints, data, names):
        group.register(commands)
    commands.add("app", app, "Start the dashboard.").add_argument("--port", type=int)
    completion.register(commands, parser)
    return parser
