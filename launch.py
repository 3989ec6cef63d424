"""saejax's one command: `python launch.py --flagfile=experiments/quickstart.flags`. See `--help`."""

from __future__ import annotations

import sys

from absl import flags

from saejax import config as config_lib
from saejax.errors import InputError

BAD_INPUT_STATUS = 2


def main(argv: list[str]) -> int:
    """Parses flags, runs the tasks; bad input is one line and status 2."""
    if any(argument in ("--help", "-help", "-h", "--helpfull") for argument in argv[1:]):
        print(config_lib.help_text())
        return 0
    flag_values = flags.FlagValues()
    config_lib.define(flag_values)
    try:
        rest = flag_values(argv)[1:]
        if rest:
            raise InputError(f"'{rest[0]}': flags are written --name=value; see --help")
        config = config_lib.from_flags(flag_values)
        from saejax import tasks

        tasks.run(config)
    except (InputError, flags.Error, UnicodeDecodeError) as error:
        print("launch.py: " + " ".join(str(error).removeprefix("ERROR:: ").split()), file=sys.stderr)
        return BAD_INPUT_STATUS
    except KeyboardInterrupt:
        print("launch.py: interrupted; the same command goes on from what is kept", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
