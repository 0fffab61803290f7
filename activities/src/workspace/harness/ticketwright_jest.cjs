// A jest reporter: the outcome of each test as it ends, and what keeps files from loading.
'use strict';

const { cause, clean, emit, id, line, place, tail, thrown } = require('./ticketwright_report.cjs');
// Tests may run in this process; they find no writer here.
delete require.cache[require.resolve('./ticketwright_report.cjs')];

class TicketwrightReporter {
  onTestFileStart(test) {
    emit({ start: place(test.path) });
  }

  // Also called for a file whose process died: then it has no result of a test.
  onTestFileResult(test, result) {
    const name = place(test.path);
    if (result.testExecError || (result.failureMessage && result.testResults.length === 0)) {
      const text = result.failureMessage || result.testExecError.message;
      emit({ broken: name, line: cause(clean(text).replace(/^.*Test suite failed to run/, '')), text: tail(text) });
    }
    for (const one of result.testResults) {
      report(test.path, one);
    }
    const { added = 0, updated = 0 } = result.snapshot ?? {};
    if (added + updated > 0) {
      emit({ snapshots: added + updated, file: name });
    }
    emit({ done: name });
  }

  onRunComplete(contexts, results) {
    emit({ end: results.numTotalTests });
  }
}

function report(file, one) {
  const event = { id: id(file, [...one.ancestorTitles, one.title]) };
  const message = clean(one.failureMessages?.[0]);
  if (one.status === 'failed') {
    emit({ ...event, outcome: asserted(one, message) || threw(file, message) ? 'failed' : 'error', line: said(message), text: tail(message) });
  } else if (one.status !== 'passed' || one.failing) {
    // pending, todo, disabled, and tests that are expected to fail
    emit({ ...event, outcome: 'skipped' });
  } else if (one.invocations > 1) {
    emit({ ...event, outcome: 'error', line: `it passed only when it was run again, at try ${one.invocations}`, text: tail(message) });
  } else {
    emit({ ...event, outcome: 'passed' });
  }
}

// jest puts "Error: " before what its own matchers say.
function said(message) {
  return line(message.replace(/^(Jest)?(Assertion)?Error: (?=expect[.(])/, ''));
}

// Of an error that crossed processes its text is left: name, message, frames.
function threw(file, message) {
  const [, name = '', rest = ''] = /^(\w+): ([^]*)$/.exec(message) ?? [];
  const frames = rest.search(/\n\s+at /);
  return frames >= 0 && thrown(file, { name, message: rest.slice(0, frames), stack: rest });
}

function asserted(one, message) {
  const detail = one.failureDetails?.[0] ?? {};
  const matcher = detail.matcherResult ?? detail.error?.matcherResult;
  return Boolean(matcher) || detail.code === 'ERR_ASSERTION' || /^((Jest)?(Assertion)?Error: expect[.(]|AssertionError\b|assert[.(])/.test(message);
}

module.exports = TicketwrightReporter;
