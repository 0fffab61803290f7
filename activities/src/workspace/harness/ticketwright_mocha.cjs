// A mocha reporter (https://mochajs.org/api/tutorial-custom-reporter.html): the outcome of each test as it ends.
'use strict';

const { clean, emit, id, line, tail, thrown } = require('./ticketwright_report.cjs');
// Tests may run in this process; they find no writer here.
delete require.cache[require.resolve('./ticketwright_report.cjs')];

class TicketwrightReporter {
  constructor(runner) {
    let tests = 0;
    const name = (test) => id(test.file ?? test.parent?.file ?? '', test.titlePath());
    runner.on('test', (test) => emit({ start: name(test) }));
    runner.on('pass', (test) => {
      tests += 1;
      const again = test.currentRetry();
      emit(again > 0
        ? { id: name(test), outcome: 'error', line: `it passed only when it was run again, at try ${again + 1}`, text: '' }
        : { id: name(test), outcome: 'passed' });
    });
    runner.on('pending', (test) => emit({ id: name(test), outcome: 'skipped' }));
    // Also called for hooks, which have titles like `"before all" hook for "adds"`.
    runner.on('fail', (test, error) => {
      tests += 1;
      const asserted = test.type === 'test'
        && (error.code === 'ERR_ASSERTION' || error.name === 'AssertionError' || thrown(test.file ?? test.parent?.file ?? '', error));
      const message = clean(error.message);
      const text = `${error.name ?? 'Error'}: ${message}`;
      emit({ id: name(test), outcome: asserted ? 'failed' : 'error', line: line(text), text: tail(error.stack ?? text) });
    });
    runner.once('end', () => emit({ end: tests }));
  }
}

module.exports = TicketwrightReporter;
