/** Commands on the node: run once whatever comes twice, kept over a crash; spans that no clock makes longer. */

import { expect, test } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import fc from 'fast-check'

import { createCommandStore } from '../../../../src/edge/agent/cache/command-store.ts'
import { openCacheIndex } from '../../../../src/edge/agent/cache/cache-index.ts'
import { NodeModes } from '../../../../src/edge/agent/commands/modes.ts'
import { CommandRunner, type Execute } from '../../../../src/edge/agent/commands/runner.ts'
import { remainingMs, spanOf } from '../../../../src/edge/agent/commands/span.ts'
import { EdgefnError } from '../../../../src/errors.ts'
import type {
  CommandId,
  CommandResult,
  NodeCommand,
  PendingCommand,
} from '../../../../src/protocol/commands.ts'
import { createLog } from '../../../../src/telemetry/log.ts'

const silent = createLog({ component: 'test', level: 'error', write: () => undefined })
const idOf = (number: number) =>
  `01a217bb-0000-7000-8000-${String(number).padStart(12, '0')}` as CommandId
const SYNC: NodeCommand = { type: 'sync', params: {} }

test('a span ends on the clock of its boot, and no step of the wall clock makes it longer than itself', () => {
  const clock = fc.record({
    boot: fc.constantFrom('a', 'b'),
    uptime_ms: fc.nat(1e9),
    wall_ms: fc.integer({ min: -1e12, max: 1e12 }),
  })
  fc.assert(
    fc.property(fc.nat(1e8), clock, clock, (ms, began, now) => {
      const left = remainingMs(spanOf(ms, began), now)
      expect(left).toBeGreaterThanOrEqual(0)
      expect(left).toBeLessThanOrEqual(ms)
      if (now.boot === began.boot && now.uptime_ms >= began.uptime_ms + ms) expect(left).toBe(0)
    }),
  )
})

/** A control plane that hands out what is not answered, as often as it is asked, and loses answers now and then. */
function world(losses: readonly boolean[]) {
  const dir = mkdtempSync(join(tmpdir(), 'edgefn-commands-'))
  const open = new Map<CommandId, PendingCommand>()
  const answers = new Map<CommandId, CommandResult[]>()
  const effects: CommandId[] = []
  let calls = 0
  let asked = 0
  const isLost = () => losses[calls++ % losses.length] === true
  let database = openCacheIndex(join(dir, 'index.db'), silent)

  function agent(execute: Execute = async () => ({})) {
    const store = createCommandStore(database)
    const now = () => ({ boot: 'a', uptime_ms: performance.now(), wall_ms: 0 })
    const modes = new NodeModes({ store, log: silent, log_level: 'error', now })
    const begin = modes.begin.bind(modes)
    modes.begin = (id, command) => {
      begin(id, command)
      effects.push(id)
    }
    return new CommandRunner({
      store,
      modes,
      log: silent,
      leave: () => undefined,
      retryDelayMs: () => 1,
      execute,
      cp: {
        pendingCommands: async () => {
          asked += 1
          return { commands: [...open.values(), ...open.values()], unread: [] }
        },
        commandResult: async (id, result) => {
          answers.set(id, [...(answers.get(id) ?? []), result])
          if (isLost()) throw new EdgefnError('cp_unreachable', 'lost')
          open.delete(id)
        },
      },
    })
  }

  return {
    open,
    answers,
    effects,
    agent,
    ask(number: number, command: NodeCommand = SYNC, ttl_ms = 60_000) {
      open.set(idOf(number), { command_id: idOf(number), command, ttl_ms })
    },
    /** How often the control plane was asked. */
    asked: () => asked,
    /** Runs SQL on the node's disk. */
    disk: (sql: string) => database.run(sql),
    store: () => createCommandStore(database),
    crash() {
      database.close()
      database = openCacheIndex(join(dir, 'index.db'), silent)
    },
    async settled() {
      while (open.size > 0) await Bun.sleep(1)
    },
    end() {
      database.close()
      rmSync(dir, { recursive: true })
    },
  }
}

test('each command takes effect once, whatever is handed out again and whichever answers are lost', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 5 }),
      fc.array(fc.boolean(), { minLength: 1, maxLength: 8 }).filter((all) => all.includes(false)),
      async (count, losses) => {
        const at = world(losses)
        for (let number = 1; number <= count; number += 1) at.ask(number)
        const runner = at.agent()
        runner.open()
        await at.settled()
        await runner.close()
        expect(at.effects.toSorted()).toEqual(Array.from({ length: count }, (_, i) => idOf(i + 1)))
        for (const results of at.answers.values()) {
          for (const result of results) expect(result.state).toBe('succeeded')
        }
        at.end()
      },
    ),
    { numRuns: 100 },
  )
}, 120_000)

test('what an agent began and did not end is answered by the next one, and not run again', async () => {
  const at = world([false])
  at.ask(1)
  at.ask(2, { type: 'undrain', params: {} })
  at.ask(3, SYNC, -1)
  const killed = at.agent(() => new Promise(() => undefined))
  killed.open()
  while (at.effects.length < 2 || at.answers.size < 1) await Bun.sleep(1)
  await killed.close()
  expect([...at.answers.keys()]).toEqual([idOf(3)])
  at.crash()
  const next = at.agent()
  next.open()
  await at.settled()
  await next.close()
  expect(at.effects).toEqual([idOf(1), idOf(2)])
  const said = [1, 2, 3].map((number) => at.answers.get(idOf(number))?.at(-1))
  expect(said.map((result) => [result?.state, result?.error?.code])).toEqual([
    ['failed', 'interrupted'],
    ['succeeded', undefined],
    ['expired', 'expired'],
  ])
  at.end()
})

test('a result that the disk has no room for is told when it has, and nobody is asked without end meanwhile', async () => {
  const at = world([false])
  at.ask(1)
  at.disk(`CREATE TRIGGER full BEFORE UPDATE OF result ON commands
    BEGIN SELECT RAISE(ABORT, 'the disk is full'); END`)
  const runner = at.agent()
  runner.open()
  while (at.effects.length < 1) await Bun.sleep(1)
  runner.poke()
  await Bun.sleep(50)
  expect(at.answers.size).toBe(0)
  expect(at.asked()).toBeLessThan(10)
  at.disk('DROP TRIGGER full')
  runner.poke()
  await at.settled()
  await runner.close()
  expect(at.answers.get(idOf(1))?.map(({ state }) => state)).toEqual(['succeeded'])
  expect(at.effects).toEqual([idOf(1)])
  at.end()
})

test('a record that is damaged is answered, not run again, and holds up no other command', async () => {
  const at = world([false])
  at.store().begin(idOf(1), SYNC, null)
  at.disk("UPDATE commands SET command = '{'")
  at.ask(1)
  at.ask(2)
  const runner = at.agent()
  runner.open()
  await at.settled()
  await runner.close()
  expect(at.answers.get(idOf(1))?.[0]?.error?.code).toBe('interrupted')
  expect(at.answers.get(idOf(2))?.[0]?.state).toBe('succeeded')
  expect(at.effects).toEqual([idOf(2)])
  at.end()
})
