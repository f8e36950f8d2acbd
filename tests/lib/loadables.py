"""Compiles tasks, commands and module types as the build does, for tests that drop them into a running platform."""

import shlex
import subprocess

from flowtest import BUILD


def make_flags():
    """Compiler and flags that the build uses for loadables, taken from its Makefile."""
    variables = {}
    for line in (BUILD / "Makefile").read_text().replace("\\\n", " ").splitlines():
        name, sign, value = line.partition(" = ")
        if sign and name.isidentifier():
            variables.setdefault(name, value)
    text = "$(DEFS) $(AM_CPPFLAGS) $(CPPFLAGS) $(AM_CFLAGS) $(CFLAGS) @ $(LOADABLE_LDFLAGS) $(LDFLAGS)"
    while "$(" in text:
        begin = text.rindex("$(")
        end = text.index(")", begin)
        text = text[:begin] + variables.get(text[begin + 2:end], "") + text[end + 1:]
    before, _, after = text.partition("@")
    return shlex.split(before), shlex.split(after)


class Workshop:
    """Compiles loadables into a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.count = 0
        self.before, self.after = make_flags()

    def compile(self, source, *flags, **macros):
        self.count += 1
        path = self.folder / f"{self.count}.c"
        path.write_text(source)
        out = path.with_suffix(".so")
        libraries = [f"-l{lib.stem[3:]}" for lib in sorted((BUILD / "lib").glob("libflowstream-*.so"))]
        argv = ["gcc", *self.before, *(f"-D{name}={value}" for name, value in macros.items()), "-o", str(out), str(path), *self.after, *flags,
                *libraries, "-lxmlrpc", "-lxmlrpc_util"]
        done = subprocess.run(argv, cwd=BUILD, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return out
