"""What the scripts that run the transformers library share."""

import importlib
import json
import sys

# `batched_mm` copies an expert's weights for every assignment and is far slower on a processor; the others are rivals.
IMPLEMENTATIONS = ["eager", "grouped_mm"]


def stop(problem):
    """Ends with one sentence as the last line, for the program that started the script; it goes on without the peer."""
    print(json.dumps({"problem": problem}))
    sys.exit(0)


def needed(module, what=None, otherwise=stop):
    """The module, or what `otherwise` does with the reason why `what` (default: its name) cannot be had."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        return otherwise(f"this Python has no usable {what or module} ({error})")


def print_report(threads, rows, libraries):
    """The last line: the first of the libraries is the one that was measured."""
    versions = {library.__name__: library.__version__ for library in libraries}
    versions["python"] = sys.version.split()[0]
    print(json.dumps({"library": libraries[0].__name__, "versions": versions, "threads": threads, "rows": rows}))
