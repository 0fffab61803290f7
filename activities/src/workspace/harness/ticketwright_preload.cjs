// Loaded into every node of a run. In the process of a test runner it adds our reporter to the arguments, however the
// runner was started: by npm, a script, npx, or a path. Everything else it leaves alone.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const JEST = /\/(jest|jest-cli)\/bin\/jest\.js$|\/react-scripts\/scripts\/test\.js$/;
const VITEST = /\/vitest\/(dist\/cli[^/]*\.js|vitest\.mjs)$/;
const MOCHA = /\/mocha\/(bin\/_?mocha(\.js)?|lib\/cli\/cli\.js)$/;
// Rewriting snapshots, waiting for edits, and being content without tests.
const NEVER = /^(-u|--updateSnapshot|--update|--test-update-snapshots|--watch|--watchAll|--no-ci|--passWithNoTests|--pass-with-no-tests)(=.*)?$/;

// Where the sandbox has the repository. A runner may be started below it.
const ROOT = '/w';

const harness = (name) => path.join(__dirname, name);
// Asked for these, a runner does something else than to run tests.
const OTHER = /^(--version|-v|--help|-h|--listTests|--showConfig|--init|list|init|bench)$/;

// Only these files and tests, when single tests are asked for. The full name of a test joins its groups by a blank, or as
// our ids do; names of canaries are parts of names.
function only() {
  let chosen;
  try {
    chosen = JSON.parse(fs.readFileSync(harness('only'), 'utf8'));
  } catch {
    return { files: [], patterns: [] };
  }
  const names = chosen.names.map((name) => `^${escape(name).replaceAll(' > ', '( > | )')}$`);
  return { files: chosen.files.map((file) => path.join(ROOT, file)), patterns: [[...names, ...chosen.canaries.map(escape)].join('|')].filter(Boolean) };
}

function escape(text) {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
}

function start() {
  const args = process.argv.slice(2).filter((argument) => !NEVER.test(argument));
  const { files, patterns } = only();
  const set = (...more) => process.argv.splice(2, process.argv.length, ...args, ...more);
  const script = realpath(process.argv[1]);
  if (args.some((argument) => OTHER.test(argument))) {
    return;
  }
  if (process.execArgv.includes('--test') && !process.env.NODE_TEST_CONTEXT && script !== __filename) {
    nodeTest(args, files);
  } else if (JEST.test(script)) {
    const chosen = [...(files.length > 0 ? ['--passWithNoTests'] : []), ...patterns.map((one) => `--testNamePattern=${one}`), ...files.map((file) => `${escape(file)}$`)];
    set('--ci', '--bail=0', '--reporters=default', `--reporters=${harness('ticketwright_jest.cjs')}`, ...chosen);
    begin('jest');
  } else if (VITEST.test(script)) {
    const chosen = [...(files.length > 0 ? ['--passWithNoTests'] : []), ...patterns.map((one) => `--testNamePattern=${one}`), ...files];
    set('--run', '--bail=0', '--retry=0', '--reporter=default', `--reporter=${harness('ticketwright_vitest.mjs')}`, ...chosen);
    begin('vitest');
  } else if (MOCHA.test(script)) {
    const place = args.findIndex((argument) => argument === '--reporter' || argument === '-R');
    if (place >= 0) {
      args.splice(place, 2);
    }
    const kept = args.filter((argument) => !/^(--reporter(=|$)|-b$|--bail$)/.test(argument));
    process.argv.splice(2, process.argv.length, ...kept, '--no-bail', '--retries=0', '--forbid-only', `--reporter=${harness('ticketwright_mocha.cjs')}`, ...files);
    begin('mocha');
  }
}

// Loads the reporter's module before any code of the repository runs: it takes what it needs out of the environment.
function begin(runner) {
  require('./ticketwright_report.cjs').emit({ begin: runner });
}

// Reporters of `node --test` are options of node itself, so it is started once more.
function nodeTest(args, files) {
  const { spawnSync } = require('node:child_process');
  const options = [];
  for (let at = 0; at < process.execArgv.length; at += 1) {
    const option = process.execArgv[at];
    if (/^--test-reporter(-destination)?$/.test(option)) {
      at += 1;
    } else if (!/^--test-reporter(-destination)?=/.test(option) && !NEVER.test(option)) {
      options.push(option);
    }
  }
  const reporters = [
    ['spec', 'stdout'],
    [harness('ticketwright_node_test.mjs'), 'stderr'],
  ].flatMap(([reporter, destination]) => [`--test-reporter=${reporter}`, `--test-reporter-destination=${destination}`]);
  const first = process.argv[1] ? [process.argv[1], ...args] : [];
  const env = { ...process.env, TICKETWRIGHT_RUNNER: '1' };
  const { status, signal } = spawnSync(process.execPath, [...options, ...reporters, ...(files.length > 0 ? files : first)], { stdio: 'inherit', env });
  process.exit(signal ? 1 : status ?? 1);
}

function realpath(name) {
  try {
    return fs.realpathSync(name);
  } catch {
    return name ?? '';
  }
}

if (process.env.TICKETWRIGHT_RUNNER) {
  delete process.env.TICKETWRIGHT_RUNNER;
  begin('node');
} else if (process.env.TICKETWRIGHT_REPORT) {
  start();
}
