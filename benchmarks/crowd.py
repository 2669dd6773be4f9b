"""How long a page takes when many people look at once, and whether the server's memory stays flat.

A real server, a home with runs of its own and a training in the background; sessions speak to it as browsers do and
go through all pages in an order of their own, without a pause. What is measured is the time from asking for a page
until its script has ended. Two trees are compared by naming both: they are measured in turn.

    python benchmarks/crowd.py
    python benchmarks/crowd.py --tree . --tree ../before --seconds 60 --rounds 2
    python benchmarks/crowd.py --reruns 500
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving import Server, environment  # type: ignore[import-not-found]
from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

TRAIN = "import sys; from fnkd_core.cli import main; [main(line.split()) for line in sys.argv[1:]]"
JOB = "from fnkd_core.jobs.control import submit; from fnkd_core.training.config import RunConfig; "
JOB += "submit(RunConfig(epochs=10_000, threads=1, name='background').to_dict())"
STOP = "from fnkd_core.jobs.run import list_runs; from fnkd_core.jobs.control import cancel, wait; "
STOP += "[(cancel(r), wait(r, 120)) for r in list_runs() if r.state == 'running']"


@dataclass
class Measured:
    """What the sessions saw: seconds of each view by page, exceptions and errors by their text; the server's cost."""

    views: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    exceptions: Counter[str] = field(default_factory=Counter)
    cpu_s: float = 0.0
    before_mb: float = 0.0
    after_mb: float = 0.0

    def lines(self, by_page: bool) -> Iterator[str]:
        every = [s for seconds in self.views.values() for s in seconds]
        later = [s for page, seconds in self.views.items() if page != "first" for s in seconds]
        if len(later) < 2:
            yield f"{len(every)} views only"
            return
        yield f"{len(every)} views: {spread(every)}"
        yield f"  without the first of each session, which waits for stores: {spread(later)}"
        yield (
            f"  {sum(self.exceptions.values())} exceptions or errors, "
            f"{1000 * self.cpu_s / len(every):.0f} ms of processor a view, "
            f"resident {self.before_mb:.0f} MB before, {self.after_mb:.0f} MB after"
        )
        for text, count in self.exceptions.most_common():
            yield f"  {count} x {text}"
        if by_page:
            for page, seconds in sorted(self.views.items()):
                yield f"  {page:14s} {len(seconds):5d} views, p50 {statistics.median(seconds):.2f} s"


def spread(seconds: list[float]) -> str:
    p95 = statistics.quantiles(seconds, n=20, method="inclusive")[-1]
    return f"p50 {statistics.median(seconds):.2f} s, p95 {p95:.2f} s, longest {max(seconds):.2f} s"


def furnished(tree: Path, home: Path, runs: int) -> None:
    """Make the home's finished runs, and take its stores away, so that the first visitors find none."""
    lines = [
        f"train --dataset digits --method {method} --student cifar_resnet8 --epochs 1 --per-class 10 --seed {n} "
        f"--threads 1 --name run{n}" + (" --teacher digits-teacher" if method in ("kd", "fn") else "")
        for n, method in zip(range(runs), itertools.cycle(("ce", "kd", "fn", "lsd")))
    ]
    subprocess.run(
        [sys.executable, "-c", TRAIN, *lines], env=environment(tree, home), check=True, stdout=subprocess.DEVNULL
    )


class Session:
    """One visitor: a browser's half of the protocol."""

    def __init__(self, socket: ClientConnection, measured: Measured) -> None:
        self.socket, self.measured = socket, measured
        self.pages: dict[str, str] = {}

    async def view(self, page: str = "", query: str = "") -> None:
        """Ask for a page and wait until its script has ended; one that asks to be run again has not."""
        message = BackMsg()
        message.rerun_script.page_script_hash = self.pages.get(page, "")
        message.rerun_script.query_string = query
        begun = time.perf_counter()
        await self.socket.send(message.SerializeToString())
        while True:
            got = ForwardMsg()
            got.ParseFromString(await self._received())
            kind = got.WhichOneof("type")
            if kind == "navigation":
                self.pages = {p.url_pathname or "overview": p.page_script_hash for p in got.navigation.app_pages}
            elif kind == "delta" and got.delta.new_element.WhichOneof("type") == "exception":
                error = got.delta.new_element.exception
                self.measured.exceptions[f"{page or 'overview'}: {error.type}: {error.message}"[:200]] += 1
            elif kind == "delta" and got.delta.new_element.alert.format == Alert.ERROR:
                self.measured.exceptions[f"{page or 'overview'}: {got.delta.new_element.alert.body}"[:200]] += 1
            elif kind == "script_finished" and got.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                break
        self.measured.views[page or "first"].append(time.perf_counter() - begun)

    async def _received(self) -> bytes:
        data = await self.socket.recv()
        assert isinstance(data, bytes)
        return data


@contextlib.asynccontextmanager
async def visiting(server: Server, measured: Measured) -> Any:
    address = f"ws://127.0.0.1:{server.port}/_stcore/stream"
    async with connect(address, max_size=None, ping_interval=None, subprotocols=["streamlit"]) as socket:  # type: ignore[list-item]
        yield Session(socket, measured)


async def visitor(server: Server, measured: Measured, seed: int, until: float, think_s: float, query: str) -> None:
    order = random.Random(seed)
    async with visiting(server, measured) as session:
        await session.view(query=query)
        while time.monotonic() < until:
            pages = sorted(session.pages)
            order.shuffle(pages)
            for page in pages:
                if time.monotonic() > until:
                    break
                await session.view(page, query)
                await asyncio.sleep(think_s * order.uniform(0.5, 1.5))


async def crowd(server: Server, sessions: int, seconds: float, think_s: float, query: str = "") -> Measured:
    """So many visitors at once, each of whom looks at all pages. query: what their links say."""
    measured = Measured(before_mb=server.resident_mb, cpu_s=-server.cpu_s)
    until = time.monotonic() + seconds
    await asyncio.gather(*(visitor(server, measured, seed, until, think_s, query) for seed in range(sessions)))
    measured.cpu_s += server.cpu_s
    measured.after_mb = server.resident_mb
    return measured


async def rerun(server: Server, count: int) -> Measured:
    """One session that looks at all pages again and again; says how the memory goes on the way."""
    measured = Measured(cpu_s=-server.cpu_s)
    async with visiting(server, measured) as session:
        await session.view()
        pages = sorted(session.pages)
        for page in pages * 3:  # what is kept is there once all have been seen
            await session.view(page)
        measured.before_mb = server.resident_mb
        for n in range(count):
            await session.view(pages[n % len(pages)])
            if (n + 1) % 100 == 0:
                print(f"  {n + 1} reruns: resident {server.resident_mb:.0f} MB", flush=True)
    measured.cpu_s += server.cpu_s
    measured.after_mb = server.resident_mb
    return measured


def measure(tree: Path, template: Path, options: argparse.Namespace) -> Measured:
    with tempfile.TemporaryDirectory(prefix="fnkd-crowd-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        shutil.copytree(template, home)
        if not options.no_job:
            subprocess.run([sys.executable, "-c", JOB], env=environment(tree, home), check=True)
        server = Server(tree, home)
        try:
            if options.reruns:
                return asyncio.run(rerun(server, options.reruns))
            return asyncio.run(crowd(server, options.sessions, options.seconds, options.think))
        finally:
            server.stop()
            subprocess.run([sys.executable, "-c", STOP], env=environment(tree, home), check=True)
            said = [line for line in server.log.read_text().splitlines() if "Error" in line or "Traceback" in line]
            print(*said[:20], sep="\n", end="\n" if said else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, action="append", help="a checkout to measure; several are in turn")
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--think", type=float, default=0.0, help="mean pause of a session between pages, in seconds")
    parser.add_argument("--runs", type=int, default=10, help="finished runs in the home")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--reruns", type=int, default=0, help="instead: one session, so many pages")
    parser.add_argument("--no-job", action="store_true", help="no training in the background")
    parser.add_argument("--by-page", action="store_true")
    options = parser.parse_args()
    trees = [tree.resolve() for tree in options.tree or [Path(__file__).parents[1]]]
    with tempfile.TemporaryDirectory(prefix="fnkd-crowd-") as template:
        furnished(trees[0], Path(template), options.runs)
        for _ in range(options.rounds):
            for tree in trees:
                print(f"{tree}:", *measure(tree, Path(template), options).lines(options.by_page), sep="\n", flush=True)


if __name__ == "__main__":
    main()
