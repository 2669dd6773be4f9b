"""`fnkd methods`, `fnkd recipes` and `fnkd models`: the names that other commands take."""

from __future__ import annotations

import argparse

from fnkd_core.cli.options import Commands, Result
from fnkd_core.errors import one_line


def methods(a: argparse.Namespace) -> Result:
    from fnkd_core.kd.methods import METHODS
    from fnkd_core.kd.objective import parameters

    rows = []
    for name, method in METHODS.items():
        own = [parameter.name for parameter in parameters(name)]
        facts = {"needs_teacher": method.needs_teacher, "couples_batch": method.couples_batch}
        facts["one_teacher"] = method.one_teacher
        rows.append({"name": name, "title": method.title, **facts, "parameters": own})
        couples = ", couples the batch" if method.couples_batch else ""
        print(f"{name:<8} {method.title}{couples}" + (f" ({', '.join(own)})" if own else ""))
    return {"methods": rows}


def recipes(a: argparse.Namespace) -> Result:
    from fnkd_core.training.recipes import RECIPES

    rows: list[Result] = []
    for name, one in RECIPES.items():
        own = {method: dict(values) for method, values in one.parameters.items()}
        rows.append({"name": name, "title": one.title, "settings": dict(one.settings), "parameters": own})
        rows[-1] |= {"source": one.source, "needs": list(one.needs)}
        print(f"{name}: {one.purpose} ({one.source})")
        print("  " + ", ".join(f"{key} {one_line(value)}" for key, value in one.settings.items()))
        for method, values in own.items():
            print(f"  with {method}: " + ", ".join(f"{key} {value}" for key, value in values.items()))
        if one.needs:
            print(f"  needs {', '.join(one.needs)}")
    return {"recipes": rows}


def models(a: argparse.Namespace) -> Result:
    from fnkd_core.models.architecture import list_architectures

    found = [name for name in list_architectures() if a.text.lower() in name.lower()]
    print("\n".join(found) or f"No architecture has {a.text!r} in its name.")
    return {"models": found}


def register(commands: Commands) -> None:
    """Add the commands of this file."""
    commands.add("methods", methods, "All methods, with their parameters.")
    commands.add("recipes", recipes, "All recipes: settings that a run can begin with, and their sources.")
    command = commands.add("models", models, "All architectures: the zoo, torchvision's and timm's.")
    command.add_argument("text", metavar="PART", nargs="?", default="", help="only those with this in their names")
