"""What the supervisor runs after a change of Open vSwitch's database: bridges and ports of the platform that somebody took away are made again.

    python3 -m flowstream.mend DIR

Ends with 0 when all are there; with 1 while another command changes the platform, or they cannot be made: then it is tried again later.
"""

import sys
import time
from pathlib import Path

from . import folder
from .errors import Error
from .fabric import Fabric
from .topology import Topology


def say(line):
    print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}  ports: {line}", file=sys.stderr, flush=True)


def _fabric(directory):
    record = folder.Record.load(Path(directory))
    return Fabric(record, Topology(record.directory / "platform.xml"))


def main(directory):
    try:
        if _fabric(directory).missing():  # only who has something to do keeps others from changing the platform
            with folder.locked(directory, mending=True):
                missing = _fabric(directory).mend()
                if missing:
                    say(f"{', '.join(missing)} had been taken away: made again")
        return 0
    except Error as error:
        say(error)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
