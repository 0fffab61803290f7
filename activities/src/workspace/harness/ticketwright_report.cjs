// Tells the harness, one JSON line per event, what happens to each test. Bound read-only beside the code under test.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { stripVTControlCharacters } = require('node:util');

const file = fs.openSync(process.env.TICKETWRIGHT_REPORT, 'a', 0o644);
const nonce = process.env.TICKETWRIGHT_NONCE;
// What the code under test does not see in its environment it does not write by chance.
delete process.env.TICKETWRIGHT_REPORT;
delete process.env.TICKETWRIGHT_NONCE;
// Where the sandbox has the repository.
const ROOT = '/w';
const TEXT_LINES = 20;
// What tells of a symbol that is missing; everything else that keeps a file from loading is told by its first line.
const MISSING = [
  /Cannot find module/,
  /Failed to (resolve import|load url)/,
  /does not provide an export named/,
  /is not a (function|constructor)$/,
];
// Errors of the TypeScript compiler that name a missing symbol.
const MISSING_TYPES = /error TS(2304|2305|2307|2339|2551|2552|2614|2724):/;

let told = 0;

// One write per event: lines of parallel processes do not mix.
function emit(event) {
  if (event.id) {
    told += 1;
  }
  fs.writeSync(file, `${JSON.stringify({ n: nonce, ...event, ...(event.end === undefined ? {} : { tests: told }) })}\n`);
}

function clean(text) {
  return stripVTControlCharacters(String(text ?? ''));
}

function tail(text) {
  const lines = clean(text).trim().split('\n').filter((one) => !/^\s+at .*(\/node_modules\/|node:internal)/.test(one));
  return lines.slice(0, TEXT_LINES).join('\n');
}

// The id of a test: its file, as the repository names it, and the names of its groups and its own.
function id(name, titles) {
  return `${place(name)}::${titles.join(' > ')}`;
}

function place(name) {
  const relative = path.relative(ROOT, String(name).replace(/^file:\/\//, ''));
  return relative.split(path.sep).join('/');
}

// What an assertion says, in one line: the first line, and what was expected and received.
function line(message) {
  const lines = clean(message).split('\n').map((one) => one.trim()).filter(Boolean);
  const values = lines[0]?.endsWith(':') ? lines.slice(1, 2) : lines.slice(1).filter((one) => /^(Expected|Received)\b[^:]*: /.test(one)).slice(0, 2);
  return [lines[0] ?? '', ...values].join(' ').slice(0, 500);
}

// Why a file cannot be loaded. Of several compiler errors the one that names no missing symbol: it decides.
function cause(message) {
  const lines = clean(message).split('\n').map((one) => one.trim()).filter((one) => one && !one.startsWith('at '));
  const types = lines.filter((one) => /error TS\d+:/.test(one));
  const told = types.find((one) => !MISSING_TYPES.test(one)) ?? types[0]
    ?? lines.find((one) => MISSING.some((known) => known.test(one)))
    ?? lines.find((one) => /Error\b/.test(one));
  return (told ?? lines[0] ?? 'it could not be loaded').slice(0, 500);
}

// Whether the test itself threw a plain error, as in `if (got !== 3) throw new Error(...)`: its first frame is in the test's own
// file. What the code under test throws begins elsewhere, and what node throws for it has a code or tells of a missing symbol. A runner's own word of a
// test that took too long is none of the test's.
function thrown(file, { name, message, stack, code }) {
  const text = clean(message);
  if (name !== 'Error' || code !== undefined || /^Cannot find |^thrown: |time(d )?out/i.test(text) || MISSING.some((known) => known.test(text))) {
    return false;
  }
  const said = clean(stack);
  const from = said.indexOf(text);
  const frame = said.slice(from < 0 ? 0 : from + text.length).split('\n').find((one) => /^\s+at /.test(one)) ?? '';
  const [, at] = /^\s+at (?:.*\(|async )?([^()]+):\d+:\d+\)?$/.exec(frame) ?? [];
  // Mocha tells where from the directory in which it runs.
  return at !== undefined && place(path.resolve(at.replace(/^file:\/\//, '').replace(/\?.*$/, ''))) === place(file);
}

module.exports = { cause, clean, emit, id, line, place, tail, thrown };
