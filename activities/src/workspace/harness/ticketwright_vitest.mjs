// A vitest reporter: the outcome of each test as it ends, and what keeps files from loading. Written for the reporter
// interface that vitest 3 brought (https://vitest.dev/api/advanced/reporters), with the one before it as far as needed.
import { createRequire } from 'node:module';

// vitest would load the module a second time; the first one knows where to report.
const { cause, clean, emit, id, line, place, tail, thrown } = createRequire(import.meta.url)('./ticketwright_report.cjs');

// What vitest's own assertions say that are no AssertionError.
const ASSERTS = /^(expect[.(]|Snapshot `|expected (any )?number of assertions|expected any)/;

export default class TicketwrightReporter {
  closed = new Set();
  reported = new Set();

  onInit(vitest) {
    this.vitest = vitest;
  }

  onTestRunStart() {
    this.modern = true;
  }

  onTestModuleQueued(module) {
    emit({ start: place(module.moduleId) });
  }

  onTestCaseResult(test) {
    if (this.reported.has(test.id)) {
      return;
    }
    this.reported.add(test.id);
    const titles = [];
    for (let group = test; group && group.type !== 'module'; group = group.parent) {
      titles.unshift(group.name);
    }
    const { state, errors } = test.result();
    const { retryCount = 0 } = test.diagnostic() ?? {};
    this.tell(test.module.moduleId, { id: id(test.module.moduleId, titles) }, state, errors, retryCount, test.options.fails);
  }

  tell(file, event, state, errors, retryCount, fails) {
    if (state === 'failed') {
      const [error] = errors;
      emit({ ...event, outcome: asserted(error) || thrown(file, error ?? {}) ? 'failed' : 'error', line: said(error), text: tail(told(error)) });
    } else if (state !== 'passed' || fails) {
      emit({ ...event, outcome: 'skipped' });
    } else if (retryCount > 0) {
      emit({ ...event, outcome: 'error', line: `it passed only when it was run again, at try ${retryCount + 1}`, text: '' });
    } else {
      emit({ ...event, outcome: 'passed' });
    }
  }

  onTestModuleEnd(module) {
    this.close(module);
  }

  // Also has the modules that could not be imported: they end without a word.
  onTestRunEnd(modules) {
    modules.forEach((module) => this.close(module));
    const { added = 0, updated = 0 } = this.vitest?.snapshot?.summary ?? {};
    if (added + updated > 0) {
      emit({ snapshots: added + updated });
    }
    emit({ end: modules.length });
  }

  // vitest 1 and 2 know only this one.
  onFinished(files) {
    if (this.modern) {
      return;
    }
    const walk = (file, task, titles) => {
      const { state, errors = [], retryCount = 0 } = task.result ?? {};
      if (task.type === 'suite') {
        if (errors.length > 0) {
          emit({ broken: place(file), line: cause(`${errors[0].name ?? 'Error'}: ${errors[0].message}`), text: tail(told(errors[0])) });
        }
        task.tasks.forEach((inner) => walk(file, inner, inner.filepath ? [] : [...titles, inner.name]));
      } else {
        this.tell(file, { id: id(file, titles) }, { pass: 'passed', fail: 'failed' }[state] ?? 'skipped', errors, retryCount, task.fails);
      }
    };
    files.forEach((file) => walk(file.filepath, file, []));
    const { added = 0, updated = 0 } = this.vitest?.snapshot?.summary ?? {};
    if (added + updated > 0) {
      emit({ snapshots: added + updated });
    }
    emit({ end: files.length });
  }

  close(module) {
    if (this.closed.has(module.moduleId)) {
      return;
    }
    this.closed.add(module.moduleId);
    const name = place(module.moduleId);
    // Tests that did not run, like one with `.only` where that is forbidden, end without a word too.
    [...module.children.allTests()].forEach((test) => this.onTestCaseResult(test));
    const errors = [module, ...module.children.allSuites()].flatMap((group) => group.errors());
    if (errors.length > 0) {
      emit({ broken: name, line: cause(`${errors[0].name ?? 'Error'}: ${errors[0].message}`), text: tail(told(errors[0])) });
    } else if (module.state() === 'failed' && [...module.children.allTests()].length === 0) {
      emit({ broken: name, line: 'it could not be loaded', text: '' });
    }
    emit({ done: name });
  }
}

function told(error) {
  const frames = String(error?.stack ?? '').split('\n').filter((one) => /^\s+at /.test(one));
  return [`${error?.name ?? 'Error'}: ${error?.message ?? ''}`, ...frames].join('\n');
}

function asserted(error) {
  return error?.name === 'AssertionError' || error?.code === 'ERR_ASSERTION' || ASSERTS.test(clean(error?.message));
}

function said(error) {
  const message = clean(error?.message);
  return line(asserted(error) && !message.startsWith('expect') ? `AssertionError: ${message}` : `${error?.name ?? 'Error'}: ${message}`);
}
