/**
 * A process in which a call of the inline lane passed its deadline long before its watchdog looked, as in one that was frozen. Prints
 * whether the call ended in time. Usage: watchdog-fixture.ts DIRECTORY stops|stays: whether its guest can be stopped.
 */

import { join, resolve } from 'node:path'

import { openLibc } from '../../../../ffi/libc.ts'
import { RunningFile } from '../../../../src/edge/running.ts'
import { CallSlot, controlBytes, ControlHeader } from '../../../../src/edge/worker/lanes/control.ts'
import { startThread } from '../../../../src/edge/worker/lanes/thread.ts'
import { Engine } from '../../../../src/edge/worker/runtime/engine.ts'
import { hostOptionsIn } from '../runtime/host-options.ts'

const [directory = '', guest] = process.argv.slice(2)
const running = { path: join(directory, 'running'), seats: 2, seat: 1 }
const marks = new RunningFile(running.path, running.seats)
marks.occupy(running.seat, process.pid)
// Another thread runs something too, which is not to be blamed.
marks.begin(running.seat, 1, 8, 1)
marks.begin(running.seat, 0, 7, 3)
const control = new SharedArrayBuffer(controlBytes(1))
const header = new ControlHeader(control)
const entry = resolve(import.meta.dir, '../../../../src/main.ts')
startThread(entry, { edgefn_thread: 'watchdog', control, threads: 0, running })
while (header.nextWakeMs === 0) await Bun.sleep(1)

const { stop } = new Engine(hostOptionsIn(directory)).executor(16)
const slot = new CallSlot(control, 0)
slot.begin(openLibc().monotonicMs() - 60_000, stop)
while (!slot.claimed) Bun.sleepSync(1)
// As a guest that comes to its next poll, or to none for far too long.
Bun.sleepSync(guest === 'stops' ? 50 : 30_000)
const inTime = slot.end()
process.stdout.write(JSON.stringify({ inTime }), () => process.exit(0))
