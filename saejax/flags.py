"""The fields of `Config` as flags: absl's parsing, what is allowed, `--help`, and a flagfile that repeats a run. No JAX
here."""

from __future__ import annotations

import typing
from typing import Any

from absl import flags

from saejax.config import FIELDS, KINDS, SECTION_TITLES, TASKS, Config
from saejax.errors import InputError


class _ListParser(flags.ArgumentParser):
    """Parses `a,b,c` to a tuple of one element type."""

    def __init__(self, element: type):
        self._element = element
        self.syntactic_help = f"a comma-separated list of {element.__name__}"

    def parse(self, argument: Any) -> tuple:
        if isinstance(argument, (tuple, list)):
            return tuple(argument)
        try:
            return tuple(self._element(part.strip()) for part in argument.split(",") if part.strip())
        except ValueError as error:
            raise ValueError(f"must be {self.syntactic_help}") from error

    def flag_type(self) -> str:
        return "list"


class _ListSerializer(flags.ArgumentSerializer):
    def serialize(self, value: tuple) -> str:
        return ",".join(str(part) for part in value)


def define(flag_values: flags.FlagValues) -> None:
    """Makes one absl flag of each field."""
    scalar = {bool: flags.DEFINE_boolean, int: flags.DEFINE_integer, float: flags.DEFINE_float, str: flags.DEFINE_string}
    for name, field in FIELDS.items():
        text, kind = field.metadata["help"], KINDS[name]
        if kind in scalar:
            scalar[kind](name, field.default, text, flag_values=flag_values)
        else:
            parser = _ListParser(typing.get_args(kind)[0])
            flags.DEFINE(parser, name, field.default, text, flag_values, _ListSerializer())


def from_flags(flag_values: flags.FlagValues) -> Config:
    """The Config that the parsed flags say.

    Raises:
      InputError: a value that is not allowed; the message names the flag.
    """
    config = Config(**{name: flag_values[name].value for name in FIELDS})
    for name in FIELDS:
        _check(name, getattr(config, name))
    if not config.tasks:
        raise InputError(f"--tasks: none given; choose from {', '.join(TASKS)}")
    if config.d_sae and flag_values["expansion_factor"].present:
        raise InputError(
            f"--d_sae={_text(config.d_sae)} and --expansion_factor={_text(config.expansion_factor)}: both set the number "
            "of latents; give one of them"
        )
    return config


def _check(name: str, value: Any) -> None:
    about = FIELDS[name].metadata
    is_list = isinstance(value, tuple)
    for part in value if is_list else (value,):
        if part is None or (part == "" and not about["may_be_empty"]):
            raise InputError(f"--{name}: no value given; give one, or leave the flag out")
        if about["choices"] and part not in about["choices"]:
            raise InputError(f"--{name}={part}: not known; allowed are {', '.join(about['choices'])}")
        if about["least"] is not None and not part >= about["least"]:
            raise InputError(f"--{name}={part}: must be at least {about['least']:g}")
        if about["most"] is not None and not part <= about["most"]:
            raise InputError(f"--{name}={part}: must be at most {about['most']:g}")
        if isinstance(part, float) and part in (float("inf"), float("-inf")):
            raise InputError(f"--{name}={part}: must be a finite number")
    if is_list and len(set(value)) < len(value):
        raise InputError(f"--{name}={_text(value)}: a value is given twice; give each once")
    if is_list and not value and FIELDS[name].default:
        raise InputError(f"--{name}: an empty list; give at least one value")


def to_flagfile(config: Config) -> str:
    """A flagfile that repeats the run exactly; what is empty by default is left out."""
    lines = []
    for name in FIELDS:
        value = getattr(config, name)
        if isinstance(value, bool):
            lines.append(f"--{name}" if value else f"--no{name}")
        elif (value not in ((), "") or value != FIELDS[name].default) and not (name == "expansion_factor" and config.d_sae):
            lines.append(f"--{name}={_text(value)}")
    return "\n".join(lines) + "\n"


def help_text() -> str:
    """What `--help` prints: every flag by section, with its default."""
    lines = ["python launch.py [--flagfile=FILE] [--flag=value …]", ""]
    lines += ["Later flags win over earlier ones. Lists are comma-separated. --flagfile reads flags from a file, one a line."]
    for section, title in SECTION_TITLES.items():
        lines += ["", f"{title}:"]
        for name, field in FIELDS.items():
            if field.metadata["section"] == section:
                default, kind = field.default, KINDS[name]
                shown = ("yes" if default else "no") if kind is bool else _text(default) or "empty"
                allowed = f" [{', '.join(field.metadata['choices'])}]" if field.metadata["choices"] else ""
                flag = f"--[no]{name}" if kind is bool else f"--{name}"
                lines.append(f"  {flag:<26} {field.metadata['help']}{allowed} (default: {shown})")
    return "\n".join(lines)


def _text(value: Any) -> str:
    return ",".join(str(part) for part in value) if isinstance(value, tuple) else str(value)
