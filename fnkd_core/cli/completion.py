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
ZSH = """\
_fnkd() {{
    local -A known
    known=(
{words}
    )
    local before=$words[CURRENT-1] command= next i
    for ((i = 2; i < CURRENT; i++)); do
        next="${{command:+$command }}$words[i]"
        (( ${{+known[$next]}} )) || break
        command=$next
    done
    next="$command $before"
    (( ${{+known[$next]}} )) || next=${{command:-fnkd}}
    compadd -- ${{=known[$next]}} || _files
}}
(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit }}
compdef _fnkd fnkd
"""
FISH = """\
function __fnkd_known
    switch "$argv"
{words}
        case '*'
            return 1
    end
end
function __fnkd_offered
    set -l typed (commandline -opc)
    set -l command
    for word in $typed[2..]
        __fnkd_known $command $word >/dev/null; or break
        set -a command $word
    end
    set -q command[1]; and __fnkd_known $command $typed[-1]; and return
    set -q command[1]; or set command fnkd
    __fnkd_known $command
end
complete -c fnkd -n 'string match -q -- (commandline -ct)"*" (__fnkd_offered)' -f -a '(__fnkd_offered)'
"""
SHELLS = {
    "bash": (BASH, "        [{key}]={values}", "~/.bashrc"),
    "zsh": (ZSH, "        {key} {values}", "~/.zshrc"),
    "fish": (FISH, "        case {key}\n            string split -- ' ' {values}", "~/.config/fish/config.fish"),
}
"""Shell -> its script, a line of the script's words, and the file that reads it at the start."""


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


def script(parser: argparse.ArgumentParser, shell: str = "bash") -> str:
    """What a shell of `SHELLS` reads, for `eval "$(fnkd completion bash)"`. File names where nothing else fits.

    The names of checkpoints and data sets are those there are now.
    """
    text, line, _ = SHELLS[shell]
    words = completions(parser).items()
    return text.format(
        words="\n".join(line.format(key=shlex.quote(key), values=shlex.quote(" ".join(vs))) for key, vs in words)
    )


def register(commands: Commands, parser: argparse.ArgumentParser) -> None:
    """Add the command of this file. parser: of all commands, whose words it completes."""

    def completion(a: argparse.Namespace) -> Result:
        text = script(parser, a.shell)
        print(text, end="")
        return {"shell": a.shell, "script": text}

    files = "; ".join(f"{shell}: {file}" for shell, (_, _, file) in SHELLS.items())
    text = f'Completes commands and options, by eval "$(fnkd completion SHELL)" where yours begins ({files}).'
    commands.add("completion", completion, text).add_argument("shell", choices=SHELLS)
