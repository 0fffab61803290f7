"""Tells the harness, one JSON line per event, what happens to each test. Bound read-only beside the code under test."""

import json
import os

_file = os.open(os.environ["TICKETWRIGHT_REPORT"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


def emit(**event):
    # One write per event: lines of parallel workers do not mix.
    os.write(_file, (json.dumps(event) + "\n").encode())


def last_line(text):
    """The line that names an exception, out of a traceback: its last one that is not indented."""
    lines = [line for line in text.splitlines() if line.strip() and not line[0].isspace()]
    return lines[-1] if lines else text.strip()


def tail(text):
    return "\n".join(text.strip().splitlines()[-12:])
