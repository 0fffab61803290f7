// A reporter of `node --test` (https://nodejs.org/docs/latest-v20.x/api/test.html#custom-reporters).
import path from 'node:path';
import report from './ticketwright_report.cjs';

const { cause, clean, emit, id, line, place, tail, thrown } = report;

// Events of one file come in order, groups around what is in them.
class File {
  titles = [];
  tests = 0;
  errors = '';
  // The first failed test at each depth, for the test around it.
  failed = [];
}

const files = new Map();

function of(name) {
  if (!files.has(name)) {
    files.set(name, new File());
  }
  return files.get(name);
}

// node reports each file as if it was a test.
function isFile(data) {
  return data.nesting === 0 && path.resolve(data.name) === path.resolve(data.file ?? '');
}

function ended(data, passed) {
  const file = of(data.file);
  if (isFile(data)) {
    // A file may end without any test: a helper, or `process.exit(0)`. What should be there is missed elsewhere.
    if (!passed && file.tests === 0) {
      emit({ broken: place(data.file), line: cause(file.errors), text: tail(file.errors) });
    }
    return;
  }
  file.tests += 1;
  const event = { id: id(data.file, [...file.titles.slice(0, data.nesting), data.name]) };
  const inner = file.failed[data.nesting + 1];
  file.failed.length = data.nesting + 1;
  if (data.skip !== undefined || data.todo !== undefined) {
    emit({ ...event, outcome: 'skipped' });
  } else if (passed) {
    if (data.details.type !== 'suite') {
      emit({ ...event, outcome: 'passed' });
    }
  } else {
    const told = data.details.error.failureType === 'subtestsFailed' && inner ? inner : failure(data.file, data.details.error);
    file.failed[data.nesting] ??= told;
    if (data.details.type !== 'suite' || told !== inner) {
      emit({ ...event, ...told });
    }
  }
}

function failure(file, error) {
  const { cause: reason } = error;
  if (error.failureType !== 'testCodeFailure' || !(reason instanceof Error)) {
    const text = reason instanceof Error ? reason.stack : String(reason ?? error.message);
    return { outcome: 'error', line: line(text), text: tail(text) };
  }
  const asserted = reason.code === 'ERR_ASSERTION';
  const name = asserted ? 'AssertionError' : reason.name;
  return { outcome: asserted || thrown(file, reason) ? 'failed' : 'error', line: line(`${name}: ${clean(reason.message)}`), text: tail(reason.stack) };
}

export default async function* ticketwright(source) {
  let tests = 0;
  for await (const { type, data } of source) {
    if (type === 'test:start') {
      if (!isFile(data)) {
        const { titles } = of(data.file);
        titles.length = data.nesting;
        titles[data.nesting] = data.name;
      }
    } else if (type === 'test:stderr') {
      of(data.file).errors += data.message;
    } else if (type === 'test:pass' || type === 'test:fail') {
      tests += 1;
      ended(data, type === 'test:pass');
    }
  }
  emit({ end: tests });
  yield '';
}
