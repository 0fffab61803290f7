"""Tells the harness, one JSON line per event, what happens to each test. Bound read-only beside the code under test."""

import json
import os

_file = os.open(os.environ["TICKETWRIGHT_REPORT"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
# Lines without it are not ours. Code that runs later can find it all the same: what it forges has to hold in every trial.
_nonce = os.environ.pop("TICKETWRIGHT_NONCE", "")
_told = 0


def _writer(nonce):
    def emit(**event):
        global _told
        if "id" in event:
            _told += 1
        if "end" in event:
            event["tests"] = _told
        if len(event.get("line", "")) > 500:
            event["line"] = event["line"][:500]
        # One write per event: lines of parallel workers do not mix.
        os.write(_file, (json.dumps({"n": nonce, **event}) + "\n").encode())

    return emit


emit = _writer(_nonce)
del _nonce


def last_line(text):
    """The line that names an exception, out of a traceback: its last one that is not indented."""
    lines = [line for line in text.splitlines() if line.strip() and not line[0].isspace()]
    return lines[-1] if lines else text.strip()


def tail(text):
    return "\n".join(text.strip().splitlines()[-12:])[-8000:]


def chosen():
    """Says of an id whether it is to run; None: everything is."""
    try:
        with open(os.environ["TICKETWRIGHT_ONLY"], encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (KeyError, OSError):
        return None, None
    ids = {line[1:] for line in lines if line.startswith("=")}
    parts = [line[1:] for line in lines if line.startswith("~")]
    files = [line[1:] for line in lines if line.startswith("/")]
    return (lambda id: id in ids or any(part in id for part in parts)), files
