"""Runs a patch generator: the repodata comes by standard input, the instructions leave where standard output was.

Arguments: the generator, the subdir, the most bytes that the instructions may have.
When all is well the exit status is 0. Otherwise it is 1, and the end of what was said leaves instead.
"""

import sys

# With `-c` the current folder comes first: nothing that lies there may stand in for a module.
if sys.path[:1] == [""]:
    del sys.path[0]

import importlib.util
import io
import json
import os
import traceback

KEPT_BYTES = 8192
MODULE = "sigindex_patch_generator"


class Told(io.RawIOBase):
    """Standard error, of which the end is kept."""

    kept = b""

    def writable(self):
        return True

    def fileno(self):
        return 2

    def isatty(self):
        return os.isatty(2)

    def write(self, data):
        data = bytes(data)
        Told.kept = (Told.kept + data)[-KEPT_BYTES:]
        rest = data
        while rest:
            try:
                rest = rest[os.write(2, rest) :]
            except OSError:
                break  # Nobody listens, which is no reason to fail.
        return len(data)


def instructions_of(script, subdir, limit):
    spec = importlib.util.spec_from_file_location(MODULE, script)
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = module
    sys.argv = [script]
    spec.loader.exec_module(module)
    instructions = module._patch_repodata(json.load(sys.stdin.buffer), subdir)
    if not isinstance(instructions, dict):
        kind = type(instructions).__name__
        raise TypeError(f"_patch_repodata returned {kind}, not a dict")
    text = json.dumps(instructions, allow_nan=False).encode("ascii")
    if len(text) > limit:
        raise ValueError(f"the instructions have {len(text)} bytes; {limit} are allowed")
    return text


def main():
    # Whatever prints, a library in C or another program too, must not reach the result.
    result = os.dup(1)
    os.dup2(2, 1)
    told = io.TextIOWrapper(
        io.BufferedWriter(Told()), "utf-8", "backslashreplace", line_buffering=True
    )
    sys.stdout = sys.stderr = told
    script, subdir, limit = sys.argv[1:]
    try:
        text, status = instructions_of(script, subdir, int(limit)), 0
    except BaseException:
        sys.stderr = told
        traceback.print_exc()
        told.flush()
        text, status = Told.kept, 1
    with open(result, "wb") as out:
        out.write(text)
    sys.exit(status)


main()
