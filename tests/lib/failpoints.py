"""The failpoints of the source (include/flowstream/failpoint.h): their names, where they are, and whether a build has them.

    python3 tests/lib/failpoints.py         prints them
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_POINT = re.compile(r'FS_FAILPOINT(_ERROR|_WHY|_SHORT)?\(\s*"([a-z_]+\.[a-z_]+)"')
_FOLDERS = ("core", "daemons", "tasks", "commands", "openflow", "pm", "lang", "alloc")


def points():
    """name -> (file, "" or "_ERROR" or "_SHORT").  Raises ValueError when a name stands in two places: then nobody knows which was hit."""
    found = {}
    for folder in _FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.c")):
            for kind, name in _POINT.findall(path.read_text()):
                if name in found:
                    raise ValueError(f"failpoint {name} is in {found[name][0]} and in {path.relative_to(ROOT)}")
                found[name] = (str(path.relative_to(ROOT)), kind)
    return found


def are_compiled_in(build):
    """Does the build have them?  Without them set_failpoint is not there."""
    return (Path(build) / "lib/flowstream/commands/common/set_failpoint.so").exists()


if __name__ == "__main__":
    for point, (file, kind) in sorted(points().items()):
        print(f"{point:<28} {kind.removeprefix('_').lower() or 'delay, kill':<12} {file}")
