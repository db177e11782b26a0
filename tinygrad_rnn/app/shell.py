"""What the command says when it is called alone, and the script by which a shell completes it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

TOUR = """\
Recurrent networks as plain tensor operations: train one, and see where its gradient goes.

  tinygrad-rnn demo                               train, check by hand, draw, explain: one report, in a minute

  tinygrad-rnn train adding --cell lstm           a problem that needs memory; the run is kept in runs/adding
  tinygrad-rnn train char --text FILE             a text of yours, character by character
  tinygrad-rnn train csv --file F --target NAME   a column of numbers of yours, one row ahead
  tinygrad-rnn sweep adding --vary cell=rnn,gru   several settings and seeds, compared

  tinygrad-rnn eval RUN                           the score on data that it was not trained on
  tinygrad-rnn sample RUN                         text that it writes, rows that it forecasts, answers
  tinygrad-rnn diagnose RUN                       does it use its past, and can it learn to?
  tinygrad-rnn flow RUN                           where the gradient goes, step by step
  tinygrad-rnn graph RUN --out graph.svg          the unrolled graph

tinygrad-rnn COMMAND --help says more; eval "$(tinygrad-rnn completion)" lets the shell complete commands."""


def completion(parser: argparse.ArgumentParser) -> str:
    """A script for bash, and for zsh after `autoload bashcompinit && bashcompinit`."""
    commands = dict(_commands(parser))
    values, options, words = [], [], []
    for command, one in commands.items():
        flags = {flag: action for action in one._actions for flag in action.option_strings if flag.startswith("--")}
        options.append(f'            {command}) words="{" ".join(flags)}" ;;')
        for flag, action in flags.items():
            if action.choices is not None:
                values.append(f'        "{command} {flag}") words="{" ".join(map(str, action.choices))}" ;;')
        named = [str(choice) for action in one._actions if not action.option_strings for choice in action.choices or ()]
        if named:
            words.append(f'            {command}) words="{" ".join(named)}" ;;')
    return SCRIPT.format(
        commands=" ".join(commands), values="\n".join(values), options="\n".join(options), words="\n".join(words)
    )


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


SCRIPT = """\
_tinygrad_rnn() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" command="${{COMP_WORDS[1]}}" words=""
    case "$command ${{COMP_WORDS[COMP_CWORD-1]}}" in
{values}
        *) if [ "$COMP_CWORD" = 1 ]; then
            words="{commands}"
        elif [ "${{current:0:1}}" = - ]; then case "$command" in
{options}
        esac
        elif [ "$COMP_CWORD" = 2 ]; then case "$command" in
{words}
        esac; fi ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
    [ -n "$words" ] || COMPREPLY=($(compgen -f -- "$current"))
}}
complete -o filenames -F _tinygrad_rnn tinygrad-rnn"""

__all__ = ["TOUR", "completion"]
