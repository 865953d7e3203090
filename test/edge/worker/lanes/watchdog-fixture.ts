/**
 * A process in which a call of the inline lane passed its deadline long before its watchdog looked, as in one that was frozen. Prints
 * whether the call ended in time.
 */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

import { openLibc } from '../../../../ffi/libc.ts'
import { RunningFile } from '../../../../src/edge/running.ts'
import { CallSlot, controlBytes, ControlHeader } from '../../../../src/edge/worker/lanes/control.ts'
import { startThread } from '../../../../src/edge/worker/lanes/executor-thread.ts'
import { Engine } from '../../../../src/edge/worker/runtime/engine.ts'
import { hostOptionsIn } from '../runtime/host-options.ts'

const directory = mkdtempSync(join(tmpdir(), 'edgefn-watchdog-'))
const running = { path: join(directory, 'running'), seats: 2, seat: 1 }
new RunningFile(running.path, running.seats).occupy(running.seat, process.pid)
const control = new SharedArrayBuffer(controlBytes(1))
const header = new ControlHeader(control)
const entry = resolve(import.meta.dir, '../../../../src/main.ts')
startThread(entry, { edgefn_thread: 'watchdog', control, threads: 0, running })
while (header.nextWakeMs === 0) await Bun.sleep(1)

const { stop } = new Engine(hostOptionsIn(directory)).executor(16)
const slot = new CallSlot(control, 0)
slot.begin(openLibc().monotonicMs() - 60_000, stop)
while (!slot.claimed) Bun.sleepSync(1)
// As a guest that comes to its next poll.
Bun.sleepSync(50)
const inTime = slot.end()
rmSync(directory, { recursive: true, force: true })
process.stdout.write(JSON.stringify({ inTime }), () => process.exit(0))
