"""Reads an array of structures from a MATLAB file, in a process of its own, and prints it as JSON.

    python matlab_process.py FILE VARIABLE FIELD...

SciPy's reader crashes on some damaged files and allocates what others announce. This process then ends instead of the
training; its memory and time are limited. It prints a list of objects, or a text that says why there is none. A field
becomes the list of its values, texts or numbers, whatever the shape of its array.
"""

import json
import resource
import sys

MEMORY, SECONDS = 2**32, 60
"""Limits of the process."""


def main(file: str, variable: str, *names: str) -> None:
    """Print the structures, or why they cannot be read."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from scipy.io import loadmat

    try:
        content = loadmat(file, simplify_cells=True, variable_names=[variable])
    except Exception as error:  # on garbage the reader raises all kinds of errors
        print(json.dumps(str(error)))
        return
    entries = content.get(variable, [])
    entries = [entries] if isinstance(entries, dict) else list(entries)
    if not entries or not all(isinstance(entry, dict) for entry in entries):
        print(json.dumps(f"no variable {variable}"))
        return
    if missing := ", ".join(name for name in names if any(name not in entry for entry in entries)):
        print(json.dumps(f"missing fields: {missing}"))
        return
    print(json.dumps([{name: _values(entry[name]) for name in names} for entry in entries], default=str))


def _values(value: object) -> list[object]:
    import numpy as np

    values = np.atleast_1d(np.asarray(value)).ravel().tolist()
    return [item for item in values if str(item).strip()]


if __name__ == "__main__":
    main(*sys.argv[1:])
