"""A pytest plugin that reports each test to the harness, and runs none but those that the harness asks for."""

import os
import sys

import pytest

from ticketwright_report import chosen, emit, last_line, tail

_chosen, _files = chosen()
# A test that imports it again gets one without the run's nonce.
del sys.modules["ticketwright_report"]

# A worker of pytest-xdist tells the process that started it, and that one tells the harness.
if "PYTEST_XDIST_WORKER" in os.environ:

    def emit(**_event):  # noqa: F811
        pass


def _left_out(path):
    # Only files of Python can be left out unseen: others may hold what a plug-in of the repository collects.
    if not _files or not path.endswith(".py") or path.endswith("conftest.py") or not os.path.isfile(path):
        return None
    return True if not any(path.endswith("/" + file) for file in _files) else None


if int(pytest.__version__.split(".")[0]) >= 7:

    def pytest_ignore_collect(collection_path):
        return _left_out(str(collection_path))


@pytest.hookimpl(hookwrapper=True)
def pytest_collection_modifyitems(config, items):
    yield
    if _chosen is not None:
        left_out = [item for item in items if not _chosen(item.nodeid)]
        items[:] = [item for item in items if _chosen(item.nodeid)]
        if left_out:
            config.hook.pytest_deselected(items=left_out)


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    # A test that is run again until it passes is none; its options stay known, for the settings may have them.
    plugin = config.pluginmanager.get_plugin("rerunfailures")
    if plugin is not None:
        config.option.reruns = 0
        config.pluginmanager.unregister(plugin)
    if config.option.maxfail:
        config.option.maxfail = 0


def pytest_runtest_logstart(nodeid, location):
    emit(start=nodeid)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if call.excinfo is not None:
        # pytest.fail and pytest.raises say Failed where a plain assert says AssertionError.
        report.ticketwright_assertion = call.excinfo.errisinstance((AssertionError, pytest.fail.Exception))
        lines = call.excinfo.exconly().strip().splitlines()
        report.ticketwright_line = lines[0] if lines else ""


def pytest_runtest_logreport(report):
    if report.failed:
        asserted = report.when == "call" and getattr(report, "ticketwright_assertion", False)
        line = getattr(report, "ticketwright_line", "") or last_line(report.longreprtext)
        outcome = "failed" if asserted else "error"
        emit(id=report.nodeid, outcome=outcome, line=line, text=tail(report.longreprtext))
    elif report.skipped or hasattr(report, "wasxfail"):
        emit(id=report.nodeid, outcome="skipped")
    elif report.when == "call":
        emit(id=report.nodeid, outcome="passed")


def pytest_collectreport(report):
    if report.failed:
        causes = [line[1:].strip() for line in report.longreprtext.splitlines() if line.startswith("E   ")]
        line = causes[-1] if causes else last_line(report.longreprtext)
        emit(broken=report.nodeid, line=line, text=tail(report.longreprtext))


def pytest_sessionfinish(session, exitstatus):
    emit(end=int(exitstatus))
