"""The process of a contender; ``python -m benchmarks.contenders.serve SPECIFICATION OUTPUT``."""

import importlib
import sys
import traceback

from benchmarks.gate import Channel, Gate
from benchmarks.specification import Specification


def main() -> None:
    """Build the contender that the command line describes, and serve its units."""
    specification = Specification.from_json(sys.argv[1])
    channel = Channel(sys.argv[2])
    try:
        contender = importlib.import_module("benchmarks.contenders." + specification.kind)
        contender.run(specification, Gate(channel, specification))
    except Exception as error:
        traceback.print_exc()
        channel.send({"error": "{}: {}".format(type(error).__name__, error)})
        sys.exit(1)
    channel.send({"error": "the library's loop ended before it was told to"})


if __name__ == "__main__":
    main()
