"""saejax's one command: `python launch.py --flagfile=experiments/quickstart.flags`. See `--help`."""

from __future__ import annotations

import sys

from absl import flags

from saejax import flags as flags_lib
from saejax.errors import InputError

BAD_INPUT_STATUS = 2


def main(argv: list[str]) -> int:
    """Parses flags, runs the tasks; bad input is one line and status 2."""
    if any(argument in ("--help", "-help", "-h", "--helpfull") for argument in argv[1:]):
        print(flags_lib.help_text())
        return 0
    flag_values = flags.FlagValues()
    flags_lib.define(flag_values)
    try:
        rest = flag_values(argv)[1:]
        if rest:
            raise InputError(f"'{rest[0]}': flags are written --name=value; see --help")
        config = flags_lib.from_flags(flag_values)
    except UnicodeDecodeError:
        return _refuse("--flagfile: not a text file; give one with a flag a line")
    except (InputError, flags.Error) as error:
        return _refuse(str(error))
    from saejax import tasks

    try:
        tasks.run(config)
    except InputError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        print("launch.py: interrupted; the same command goes on from what is kept", file=sys.stderr)
        return 130
    return 0


def _refuse(message: str) -> int:
    print("launch.py: " + " ".join(message.removeprefix("ERROR:: ").split()), file=sys.stderr)
    return BAD_INPUT_STATUS


if __name__ == "__main__":
    sys.exit(main(sys.argv))
