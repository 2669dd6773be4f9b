"""What several commands share: options made from the records, progress, answers."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args, get_type_hints

from fnkd_core.checkpoints.library import EXPORTS
from fnkd_core.checkpoints.several import joined, names_of
from fnkd_core.errors import UserError, unknown
from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.objective import parameters
from fnkd_core.kd.parameters import Parameter
from fnkd_core.training.config import RunConfig
from fnkd_core.training.described import SETTINGS
from fnkd_core.training.recipes import RECIPES
from fnkd_core.wording import items

Result = dict[str, Any]


class Items(argparse.Action):
    """An option that takes a list, with commas, spaces or both between its items. kind: what each is read by."""

    def __init__(self, *args: Any, kind: Callable[[str], Any] = str, again: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        self.kind, self.again = kind, again

    def takes(self, text: str) -> bool:
        """Whether the text can be more of the list."""
        try:
            return all(self.kind(item) is not None for item in items(text))
        except ValueError:
            return False

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        try:
            found = [self.kind(item) for item in items(values)]
        except UserError:
            raise
        except ValueError:
            raise argparse.ArgumentError(self, f"numbers are wanted, got {values!r}") from None
        if not found:
            raise argparse.ArgumentError(self, "expected at least one item")
        before = getattr(namespace, self.dest) or [] if self.again else []
        setattr(namespace, self.dest, [*before, *found])


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, like everything else here."""

    def error(self, message: str) -> NoReturn:
        message = message.rstrip(".")
        raise UserError(f"{message[:1].upper()}{message[1:]}; see `{self.prog} --help`.")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        return super().parse_known_args(None if args is None else self._joined(args), namespace)

    def _joined(self, args: Sequence[str]) -> list[str]:
        """The arguments with each list as one of them, whose items may have spaces between."""
        joined: list[str] = []
        action, first = None, False
        for arg in args:
            if action is not None and not first and not arg.startswith("--") and action.takes(arg):
                joined[-1] += f",{arg}"
                continue
            joined.append(arg)
            if action is not None and first:
                first = False
                continue
            flag, sign, _ = arg.partition("=")
            found = self._option_string_actions.get(flag)
            action, first = (found, not sign) if isinstance(found, Items) else (None, False)
        return joined

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, str(unknown("choice", value, map(str, action.choices))))


def info_of(a: argparse.Namespace) -> Any:
    from fnkd_core.data import dataset_info

    return dataset_info(a.dataset, root=a.data_root, labels=a.labels, image_size=a.image_size)


def settings_of(a: argparse.Namespace) -> Result:
    """The settings of a run as they were given, `parameters` among them, with paths and the teacher made whole."""
    given = {k.removeprefix("p_"): v for k, v in vars(a).items() if k.startswith("p_") and v is not None}
    fields = {f.name for f in dataclasses.fields(RunConfig)}
    settings = {k: v for k, v in vars(a).items() if k in fields and v is not None}
    for path in ("data_root", "similar"):
        if settings.get(path) and Path(str(settings[path])).exists():
            settings[path] = str(Path(settings[path]).resolve())
    if settings.get("init"):
        settings["init"] = _named(settings["init"])
    if a.teacher:
        settings["teacher"] = joined(_named(name) for given_once in a.teacher for name in names_of(given_once))
    return settings | {"parameters": given}


def _named(ref: str) -> str:
    """The name of a checkpoint, or its path where another one has that name."""
    from fnkd_core.checkpoints.library import find_checkpoint, named

    entry = find_checkpoint(ref)
    of_name = named(entry.name)
    return entry.name if of_name is not None and of_name.path == entry.path else str(entry.path)


class Bar:
    """A progress bar on a terminal's standard error; where that is a file, a line there every `LINE_S`."""

    LINE_S = 60.0

    def __init__(self, what: str, total: int) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=total, desc=what, disable=None, leave=False)
        self.total, self.words = total, what
        self._said = time.monotonic()

    def show(self, done: float) -> None:
        if self._bar.disable:
            if (now := time.monotonic()) - self._said >= self.LINE_S:
                print(f"{self.words}: {_counted(done)} of {_counted(self.total)}", file=sys.stderr, flush=True)
                self._said = now
            return
        self._bar.total = self.total
        self._bar.n = done
        self._bar.set_description_str(self.words, refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        self._bar.close()


def _counted(number: float) -> str:
    """1,000,000 for a million, 0.15 for runs of which a part is done."""
    whole, _, part = f"{number:,.2f}".partition(".")
    return f"{whole}.{part}".rstrip("0").rstrip(".")


def written(paths: Sequence[Path]) -> Result:
    for path in paths:
        print(path)
    return {"files": [str(p) for p in paths]}


def add_format(command: Parser) -> None:
    text = f"one or several of {', '.join(EXPORTS)} (safetensors)"
    command.add_argument("--format", action=Items, kind=_export, default=["safetensors"], metavar="A,B", help=text)


def _export(name: str) -> str:
    if name not in EXPORTS:
        raise unknown("export format", name, EXPORTS)
    return name


def add_settings(command: Parser, leave_out: Sequence[str] = ()) -> None:
    """An option for every setting of a run, with the type its record gives it."""
    defaults = {f.name: f.default for f in dataclasses.fields(RunConfig)}
    group = command.add_argument_group("settings of the run")
    text = "settings to begin with, which those that are given go before; see `fnkd recipes`"
    group.add_argument("--recipe", choices=sorted(RECIPES), default=None, help=text)
    for name, hint in get_type_hints(RunConfig).items():
        if name not in SETTINGS or name in leave_out:
            continue
        flag, default = "--" + name.replace("_", "-"), defaults[name]
        text = f"{SETTINGS[name]} ({default})" if default is not None else SETTINGS[name]
        if hint is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=text)
        elif name == "milestones":
            group.add_argument(
                flag, action=Items, kind=float, metavar="X,X", help="fractions at which lr drops (0.5,0.75)"
            )
        elif all(isinstance(choice, str) for choice in get_args(hint)) and get_args(hint):
            group.add_argument(flag, choices=get_args(hint), default=None, help=text)
        else:
            kind = next((k for k in (int, float) if hint in (k, k | None)), str)
            group.add_argument(flag, type=kind, default=None, help=text, metavar="X")


def add_teacher(command: Parser, what: str) -> None:
    """The option that names the teacher, or several."""
    text = f"{what}; of several, A+B or given again, the mean of their softened probabilities is learnt"
    command.add_argument("--teacher", action="append", metavar="NAME|PATH", help=text)


def add_method_parameters(command: Parser) -> None:
    """An option for every parameter of every method; which belongs to which is checked with the run."""
    seen: dict[str, list[str]] = {}
    found: dict[str, Parameter] = {}
    for method in METHODS:
        for parameter in parameters(method):
            seen.setdefault(parameter.name, []).append(method)
            found.setdefault(parameter.name, parameter)
    group = command.add_argument_group("parameters of the method")
    for name, parameter in found.items():
        flag, text = "--" + name.replace("_", "-"), f"{', '.join(seen[name])}: {parameter.help}".replace("%", "%%")
        if parameter.kind == "bool":
            group.add_argument(flag, dest=f"p_{name}", action=argparse.BooleanOptionalAction, default=None, help=text)
        elif parameter.kind == "choice":
            group.add_argument(flag, dest=f"p_{name}", choices=parameter.choices, default=None, help=text)
        elif parameter.kind == "list":
            group.add_argument(flag, dest=f"p_{name}", default=None, metavar="X+X", help=text)
        else:
            group.add_argument(flag, dest=f"p_{name}", type=float, default=None, metavar="X", help=text)


class Commands:
    """Where commands are added: `fnkd NAME`, or in a group `fnkd GROUP NAME`."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._subparsers: Any = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)

    def add(self, name: str, run: Callable[[argparse.Namespace], Any], text: str, *parents: Parser) -> Parser:
        """A command with `--json` and the options of its parents."""
        common = Parser(add_help=False)
        common.add_argument(
            "--json", action="store_true", help="print one line of JSON; what is for people goes to stderr"
        )
        command: Parser = self._subparsers.add_parser(
            name, parents=[common, *parents], help=text, description=text, formatter_class=formatter
        )
        command.set_defaults(run=run)
        return command

    def group(self, name: str, text: str) -> Commands:
        return Commands(self._subparsers.add_parser(name, help=text))


def formatter(prog: str) -> argparse.HelpFormatter:
    """Help as wide as the terminal, up to 110 columns."""
    width = min(shutil.get_terminal_size().columns, 110)
    return argparse.HelpFormatter(prog, width=width, max_help_position=32)


def data_options(usual: str | None = "digits") -> Parser:
    """Which data set, where, with which labels, at which size. usual: the data set where none is given."""
    data = Parser(add_help=False)
    text = "as `fnkd data list` names it, or folder or hf with a data root" + (f" ({usual})" if usual else "")
    data.add_argument("--dataset", default=usual, metavar="NAME", help=text)
    data.add_argument("--data-root", metavar="DIR", help="where its files are; for folder and hf, the folder itself")
    data.add_argument("--labels", metavar="SPACE", help="label space, such as fine or coarse for cifar100")
    data.add_argument("--image-size", type=int, metavar="PX", help="pixels a side, where the images lie in files")
    return data
