/** Flags that could only be sent on as something else, or not at all, are refused by name. */

import { expect, test } from 'bun:test'

import { EXIT } from '../../src/cli/exit.ts'
import { runCaptured } from './capture.ts'

const nowhere = { EDGEFN_CP: 'http://127.0.0.1:9', EDGEFN_API_KEY: 'k' }

test.each([
  ['--window', 'whole seconds', 'plan hello --strategy canary --window 400ms'],
  ['--pause', 'whole seconds', 'plan hello --strategy rolling --pause 400ms'],
  ['--step-timeout', 'whole seconds', 'plan hello --strategy canary --step-timeout 1500ms'],
  ['--ttl', 'whole seconds', 'nodes sync a-1 --ttl 1500ms'],
  ['--for', 'whole seconds', 'nodes isolate a-1 --for 1500ms'],
  ['--method', 'needs --route', 'deploy x.wasm --name hello --method GET'],
  ['--regex', 'needs --route', 'routes update r --regex'],
  ['VERSION', 'must be a version', 'versions preview hello newest'],
])('%s is refused: %s', async (flag, problem, words) => {
  const { code, err } = await runCaptured(words.split(' '), nowhere)
  expect(code).not.toBe(EXIT.ok)
  expect(err).toContain(flag)
  expect(err).toContain(problem)
})
