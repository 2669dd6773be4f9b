"""`fnkd completion`: a script that lets a shell complete commands, options and their choices."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator

from fnkd_core.checkpoints import library
from fnkd_core.cli.options import Commands, Result
from fnkd_core.data import list_datasets
from fnkd_core.kd.methods import METHODS
from fnkd_core.models.architecture import ZOO

SHELLS = ("bash",)
BASH = """\
_fnkd() {{
    local -A words=(
{words}
    )
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} command= i
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ -n ${{words["${{command:+$command }}${{COMP_WORDS[i]}}"]+x}} ]] || break
        command="${{command:+$command }}${{COMP_WORDS[i]}}"
    done
    if [[ -n ${{words["$command $before"]+x}} ]]; then
        COMPREPLY=($(compgen -W "${{words["$command $before"]}}" -- "$word"))
    else
        COMPREPLY=($(compgen -W "${{words["${{command:-fnkd}}"]}}" -- "$word"))
    fi
    [[ ${{#COMPREPLY[@]}} -gt 0 ]] || COMPREPLY=($(compgen -f -- "$word"))
}}
complete -o filenames -F _fnkd fnkd
"""


def commands_of(parser: argparse.ArgumentParser, words: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each command that does something, as it is typed after `fnkd`, and its parser."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield words, parser
    for action in inner:
        for name, sub in action.choices.items():
            yield from commands_of(sub, f"{words} {name}".strip())


def options_of(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The options and arguments of a command, in its order, without its help."""
    return [action for action in parser._actions if action.dest != "help"]


def _known() -> dict[str, list[str]]:
    """The names that options without choices of their own take."""
    models = library.names()
    return {
        "method": list(METHODS),
        "methods": list(METHODS),
        "student": list(ZOO),
        "dataset": list_datasets(),
        "teacher": models,
        "checkpoint": models,
    }


def completions(parser: argparse.ArgumentParser) -> dict[str, list[str]]:
    """What can follow, by what stands before: `fnkd`, a command or group, or a command and its option with choices."""
    found: dict[str, list[str]] = {"fnkd": ["--help", "--version"]}
    known = _known()
    for words, command in commands_of(parser):
        group, _, name = words.rpartition(" ")
        if group and group not in found:
            found["fnkd"].append(group)
        found.setdefault(group or "fnkd", []).append(name)
        found[words] = ["--help"]
        for action in options_of(command):
            found[words] += [option for option in action.option_strings if option.startswith("--")]
            if values := [str(value) for value in action.choices or known.get(action.dest, [])]:
                found |= {f"{words} {option}": values for option in action.option_strings}
    return found


def script(parser: argparse.ArgumentParser) -> str:
    """What bash reads, for `eval "$(fnkd completion bash)"`. File names where nothing else fits.

    The names of checkpoints and data sets are those there are now.
    """
    words = "\n".join(
        f"        [{shlex.quote(key)}]={shlex.quote(' '.join(values))}" for key, values in completions(parser).items()
    )
    return BASH.format(words=words)


def register(commands: Commands, parser: argparse.ArgumentParser) -> None:
    """Add the command of this file. parser: of all commands, whose words it completes."""

    def completion(a: argparse.Namespace) -> Result:
        text = script(parser)
        print(text, end="")
        return {"shell": a.shell, "script": text}

    text = 'A script that completes commands and options: eval "$(fnkd completion bash)" in ~/.bashrc.'
    commands.add("completion", completion, text).add_argument("shell", choices=SHELLS)
