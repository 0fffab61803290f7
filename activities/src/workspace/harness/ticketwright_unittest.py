"""`python -m unittest` with the same arguments, reporting each test to the harness, and running none but those it asks for."""

import sys
import traceback
import unittest
from unittest.loader import _FailedTest

from ticketwright_report import chosen, emit, last_line, tail

_chosen, _ = chosen()
# A test that imports it again gets one without the run's nonce.
del sys.modules["ticketwright_report"]


def describe(error):
    kind, value, trace = error
    line = "".join(traceback.format_exception_only(kind, value)).strip()
    text = "".join(traceback.format_exception(kind, value, trace))
    return {"line": line.splitlines()[0] if line else kind.__name__, "text": tail(text)}


class Result(unittest.TextTestResult):
    def startTest(self, test):
        if not isinstance(test, _FailedTest):
            emit(start=test.id())
        super().startTest(test)

    def addSuccess(self, test):
        emit(id=test.id(), outcome="passed")
        super().addSuccess(test)

    def addFailure(self, test, err):
        emit(id=test.id(), outcome="failed", **describe(err))
        super().addFailure(test, err)

    def addError(self, test, err):
        if isinstance(test, _FailedTest):
            text = str(err[1])
            emit(broken=test._testMethodName, line=last_line(text), text=tail(text))
        elif hasattr(test, "_testMethodName"):
            emit(id=test.id(), outcome="error", **describe(err))
        else:
            # "setUpClass (package.module.Class)": none of its tests runs.
            name = test.id()
            emit(broken=name[name.find("(") + 1 : -1] if name.endswith(")") else name, **describe(err))
        super().addError(test, err)

    def addSkip(self, test, reason):
        emit(id=test.id(), outcome="skipped")
        super().addSkip(test, reason)

    def addExpectedFailure(self, test, err):
        emit(id=test.id(), outcome="skipped")
        super().addExpectedFailure(test, err)

    def addUnexpectedSuccess(self, test):
        emit(id=test.id(), outcome="failed", line="unexpected success", text="unexpected success")
        super().addUnexpectedSuccess(test)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            failure = issubclass(err[0], test.failureException)
            emit(id=test.id(), outcome="failed" if failure else "error", **describe(err))
        super().addSubTest(test, subtest, err)


def only(suite):
    """The chosen tests of a suite. What could not be loaded stays: it may be what was asked for."""
    if isinstance(suite, unittest.TestSuite):
        return type(suite)(only(test) for test in suite)
    if isinstance(suite, _FailedTest) or _chosen(suite.id()):
        return suite
    return unittest.TestSuite()


class Runner(unittest.TextTestRunner):
    resultclass = Result

    def run(self, test):
        result = super().run(test if _chosen is None else only(test))
        emit(end=result.testsRun)
        return result


if __name__ == "__main__":
    unittest.main(module=None, testRunner=Runner)
