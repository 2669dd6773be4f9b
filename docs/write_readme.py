"""Writes what the reference says of files, methods, commands and words from these themselves, and the README's table of
results from the runs on record.

make readme
"""

from __future__ import annotations

import ast
import dataclasses
from argparse import Action, ArgumentParser
from pathlib import Path

import pandas as pd

from fnkd_core.cli.completion import commands_of, options_of
from fnkd_core.cli.program import _parser
from fnkd_core.experiments.presets import PRESETS
from fnkd_core.experiments.seeds import spread
from fnkd_core.files import write_text
from fnkd_core.glossary import WORDS
from fnkd_core.kd.methods import METHODS
from fnkd_core.kd.objective import parameters
from fnkd_core.kd.parameters import Parameter
from fnkd_core.paths import project_dir
from fnkd_core.training.config import RunConfig
from fnkd_core.training.described import SETTINGS
from fnkd_core.training.recipes import RECIPES

TOP = {
    "app.py": None,
    "pages": "one question each",
    "fnkd_core": "the package; Streamlit only in ui",
    "checkpoints": "shipped models: weights and a card each; imported ones land here too",
    "benchmarks": "one script per claim",
    "docs": "pages to read, pictures, the experiment log, and the scripts that keep these pages true",
    "tests": "mirrors fnkd_core; pages by AppTest, the main ways by a real browser",
    "static": "fonts and icon, so that nothing is fetched from outside",
}
ROOMS = {
    "fnkd_core/kd": "the mathematics",
    "fnkd_core/data": "data sets as uint8 images with labels",
    "fnkd_core/data/download": "published sets: addresses, fetching, unpacking",
    "fnkd_core/data/sources": "a module for each kind of data set",
    "fnkd_core/models": "the contract, and the networks by name",
    "fnkd_core/models/networks": "the networks for small images",
    "fnkd_core/models/recognition": "which network a state dict is",
    "fnkd_core/checkpoints": "cards, files and the library of both",
    "fnkd_core/checkpoints/importing": "files of others come in",
    "fnkd_core/stores": "one model's outputs on one split",
    "fnkd_core/training": "from a configuration to a student",
    "fnkd_core/analysis": "from stores to tables; makes nothing",
    "fnkd_core/jobs": "runs as folders, processes that own them",
    "fnkd_core/experiments": "many runs as one question",
    "fnkd_core/plots": "tables to figures",
    "fnkd_core/cli": "`fnkd`: a file for each group of commands",
    "fnkd_core/ui": "what the pages are made of",
    "fnkd_core/ui/components": "what is computed in the browser: a folder each with its .py, .js and .css",
}
"""In the order of the imports: each room imports only from those above it."""


def said(path: Path) -> str:
    """The first line of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return text.splitlines()[0].rstrip(".") if text else ""


def lines(folder: Path, depth: int) -> list[str]:
    """A line per Python file of a folder, then its folders."""
    found = []
    for path in sorted(p for p in folder.glob("*.py") if p.name != "__init__.py"):
        found.append(line(path.name, said(path), depth))
    places = list(ROOMS)
    inside = [(p, p.relative_to(project_dir()).as_posix()) for p in folder.iterdir() if (p / "__init__.py").exists()]
    for inner, relative in sorted(inside, key=lambda x: (places.index(x[1]) if x[1] in ROOMS else 99, x[1])):
        found.append(line(f"{inner.name}/", ROOMS.get(relative) or said(inner / "__init__.py"), depth))
        found += lines(inner, depth + 1)
    return found


def line(name: str, text: str, depth: int) -> str:
    return f"{'  ' * depth + name:<28}{text}".rstrip()


def tree() -> str:
    """The tree of the project: a line a file."""
    found = []
    for name, text in TOP.items():
        path = project_dir() / name
        found.append(line(name if path.is_file() else f"{name}/", text or said(path), 0))
        if name in ("pages", "fnkd_core", "benchmarks", "docs"):
            found += lines(path, 1)
    return "```\n" + "\n".join(found) + "\n```"


def methods() -> str:
    """The table of the methods: name, what it does, formula, parameters with their defaults, source."""
    found = ["| method | loss | parameters | source |", "|---|---|---|---|"]
    for name, method in METHODS.items():
        given = ", ".join(f"`{p.name}` {said_default(p)}" for p in parameters(name))
        found.append(f"| `{name}` {method.summary} | ${method.formula}$ | {given} | {method.source} |")
    return "\n".join(found)


def said_default(parameter: Parameter) -> str:
    if isinstance(parameter.default, bool):
        return "on" if parameter.default else "off"
    if parameter.default is None:
        share = parameter.range.mean_norm_share if parameter.range else None
        return f"{share:g} mean ‖f‖" if share else "open"
    return f"{parameter.default:g}" if isinstance(parameter.default, float) else str(parameter.default) or "none"


def commands() -> str:
    """Each command with its options: how it is written, and what it does."""
    found = []
    for words, command in commands_of(_parser()):
        arguments = "".join(f" {option.metavar or option.dest.upper()}" for option in positional(command))
        found += [f"## fnkd {words}", "", command.description or "", "", "```", f"fnkd {words}{arguments}", "```", ""]
        rows = [f"| {written_option(option)} | {cell(option.help or '')} |" for option in options_of(command)]
        found += ["| option | |", "|---|---|", *rows, ""]
    return "\n".join(found).strip()


def positional(command: ArgumentParser) -> list[Action]:
    return [option for option in options_of(command) if not option.option_strings and option.choices is None]


def written_option(option: Action) -> str:
    """`--epochs X`, or the name of an argument."""
    choices = ",".join(map(str, option.choices)) if option.choices else None
    takes = "" if option.nargs == 0 else f" {option.metavar or choices or option.dest.upper()}"
    names = " / ".join(name for name in option.option_strings if name.startswith("--"))
    return f"`{cell(f'{names}{takes}' if names else takes.strip())}`"


def cell(text: str) -> str:
    """Text in a table."""
    return text.replace("%%", "%").replace("|", "\\|").replace("\n", " ")


def recipes() -> str:
    """The table of the recipes: what each is for, its settings, and where they are from."""
    found = ["| recipe | settings | source |", "|---|---|---|"]
    for name, one in RECIPES.items():
        given = [f"`{key}` {value_said(value)}" for key, value in one.settings.items()]
        for method, values in one.parameters.items():
            given.append(f"with {method}: " + ", ".join(f"`{key}` {value_said(v)}" for key, v in values.items()))
        needed = f" Needs {', '.join(f'`{key}`' for key in one.needs)}." if one.needs else ""
        found.append(f"| `{name}` {one.purpose}{needed} | {', '.join(given)} | {one.source} |")
    return "\n".join(found)


def presets() -> str:
    """The table of the comparisons that answer a question: what they ask, what they have, how to read them."""
    found = ["| preset | rows | how to read it |", "|---|---|---|"]
    for name, one in PRESETS.items():
        rows = [" ".join(f"`{method}`" for method in one.methods)] if one.methods else []
        rows += [f"`{key}` {', '.join(map(value_said, values))}" for key, values in one.grid.items()]
        rows += [f"`{key}` {value_said(value)}" for key, value in one.parameters.items()]
        rows += [f"`{row}`" for row in one.rows]
        rows += [f"recipe `{one.recipe}`"] if one.recipe else []
        rows += [f"teachers {', '.join(one.teachers)}"] if one.teachers else []
        rows += [f"{one.generations} generations"] if one.generations else []
        found.append(f"| `{name}` {cell(one.question)} | {'; '.join(rows)} | {cell(one.reading)} |")
    return "\n".join(found)


def settings() -> str:
    """The table of a run's settings: option, default, meaning."""
    usual = {f.name: f.default for f in dataclasses.fields(RunConfig)}
    found = ["| setting | default | what it is |", "|---|---|---|"]
    for name, text in SETTINGS.items():
        found.append(f"| `--{name.replace('_', '-')}` | {value_said(usual[name])} | {cell(text)} |")
    return "\n".join(found)


def value_said(value: object) -> str:
    """A setting's value in a table."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(f"{x:g}" for x in value)
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def words() -> str:
    """The glossary of the app."""
    return "\n".join(f"- **{word}**: {meaning}" for word, meaning in WORDS.items())


ROWS = {
    "ce": "its labels alone",
    "kd": "KD, as it is used",
    "kd policy=constant hard=1 soft=9 t_squared=false": "KD with FN's weights",
    "kd policy=norm student_norm=teacher hard=1 soft=9 t_squared=false": "FN, softened by its teacher's norms alone",
    "dkd": "DKD",
    "kd policy=norm hard=1 soft=9 t_squared=false": "**FN**",
}
"""Rows of docs/results/cifar100-15.csv -> what their students learn by, as the README has them."""


def results() -> str:
    """The rows of the table of fifteen epochs that have three seeds, at lr 0.2."""
    runs = pd.read_csv(project_dir() / "docs" / "results" / "cifar100-15.csv")
    found = ["| a student that learns by | test accuracy | ECE | NLL | mean ‖f‖ |", "|---|---|---|---|---|"]
    for row, words in ROWS.items():
        own = runs[(runs["row"] == row) & (runs["lr"] == 0.2)]
        assert sorted(own["seed"]) == [0, 1, 2], row
        said = [spread(own[name].mean(), own[name].std(), digits) for name, digits in MEASURES.items()]
        found.append(f"| {words} | {' | '.join(said)} |")
    return "\n".join(found)


MEASURES = {"accuracy": 4, "ece": 3, "nll": 2, "norm": 1}
"""Column -> how many digits of it are shown."""
WRITTEN = {
    "README.md": {"results": results},
    "docs/reference/methods.md": {"methods": methods},
    "docs/reference/tree.md": {"tree": tree},
    "docs/reference/commands.md": {"commands": commands},
    "docs/reference/settings.md": {"presets": presets, "recipes": recipes, "settings": settings},
    "docs/reference/words.md": {"words": words},
}
"""Page -> its written parts, by the names of their markers."""


def page(path: str) -> str:
    """A page with its written parts as they should be."""
    text = (project_dir() / path).read_text()
    for name, write in WRITTEN[path].items():
        start, end = f"<!-- {name}: written by `make readme` -->", f"<!-- end of {name} -->"
        before, rest = text.split(start)
        text = f"{before}{start}\n{write()}\n{end}{rest.split(end)[1]}"
    return text


if __name__ == "__main__":
    for path in WRITTEN:
        write_text(project_dir() / path, page(path))
