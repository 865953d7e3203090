/** Entry of a worker's threads: an executor that runs guests, the watchdog that stops them, the keeper of their keys, the one that fetches. */

import { parentPort } from 'node:worker_threads'

import { openLibc } from '../../../../ffi/libc.ts'
import { LibraryMissing } from '../../../../ffi/library.ts'
import { errorMessage } from '../../../errors.ts'
import type { WorkerFunction } from '../../ipc.ts'
import { RunningFile } from '../../running.ts'
import { FetchLine } from '../fetch/line.ts'
import { hostLog } from '../host/create-host.ts'
import type { HostOptions } from '../host/host.ts'
import { KvKeeper } from '../host/kv/keeper.ts'
import { SqlKeeper } from '../host/sql/keeper.ts'
import { CompiledCode } from '../runtime/compiled-code.ts'
import { Engine } from '../runtime/engine.ts'
import type { RunReport } from '../runtime/runner.ts'
import { Runner } from '../runtime/runner.ts'
import { CallSlot, ControlHeader } from './control.ts'
import type { FromThread, ThreadData, ToThread } from './messages.ts'
import { ThreadRest } from './rest.ts'
import { runWatchdog } from './watchdog.ts'

/** Runs the thread that `data` asks for. The keeper lives by its clock, executors and fetches by their messages, and the watchdog until it is told to end. */
export async function runThread(data: ThreadData): Promise<void> {
  switch (data.edgefn_thread) {
    case 'watchdog':
      return runWatchdog(data)
    case 'kv_keeper':
      return runKeepers(data.host)
    case 'fetch': {
      // Only here: sockets and TLS are nothing that an executor should load.
      const { runFetchThread } = await import('../fetch/thread-main.ts')
      return runFetchThread(data.allow_private)
    }
    case 'executor':
      return runExecutor(data)
  }
}

function runKeepers(host: HostOptions): void {
  const log = hostLog(host)
  new KvKeeper({ dir: host.kv_dir, log, now: Date.now }).run()
  new SqlKeeper(host.sql_dir, log, openLibc()).run()
}

/**
 * Steps by which executor threads come after the HTTP thread, the watchdog, and the other processes of the node: a guest that
 * burns its whole time must not keep others' requests from being read.
 */
const executorNice = 5

function runExecutor(data: ThreadData & { edgefn_thread: 'executor' }): void {
  openLibc().lowerPriority(executorNice)
  const { control, index, host, running, compile_key } = data
  const port = parentPort
  if (port === null) throw new Error('An executor runs only as a thread.')
  const post = (message: FromThread) => port.postMessage(message)
  const marks = new RunningFile(running.path, running.seats)
  const rest = new ThreadRest(data.rest, index, () => post({ type: 'asleep' }))
  /** As the main thread has told of them, by pool key. */
  const functions = new Map<string, WorkerFunction>()
  /** Whoever finds this process dead reads whose module it had in hand. */
  function marked(key: string, run: (fn: WorkerFunction) => RunReport): void {
    const fn = functions.get(key)
    if (fn === undefined) throw new Error(`Nothing was told of ${key}.`)
    marks.begin(running.seat, index, fn.slot, fn.version)
    rest.begin(fn.slot)
    const report = run(fn)
    rest.end()
    marks.end(running.seat, index)
    if (!report.loaded) functions.delete(key)
    post({ type: 'done', report })
  }
  let runner: Runner
  let line: FetchLine | null = null
  try {
    const engine = new Engine(host)
    engine.host.sleeping = (leftMs, wait) => rest.during(leftMs, wait)
    const { holder } = new ControlHeader(control)
    const compiledCode = new CompiledCode(engine.native, compile_key, holder, hostLog(host))
    runner = new Runner(engine, new CallSlot(control, index), compiledCode)
    post({ type: 'ready', engine: engine.version })
  } catch (thrown) {
    const code = thrown instanceof LibraryMissing ? 'engine_missing' : 'internal'
    post({ type: 'failed', error: { code, message: errorMessage(thrown) } })
    return
  }
  port.on('message', (message: ToThread) => {
    switch (message.type) {
      case 'function':
        functions.set(message.key, message.fn)
        return
      case 'call': {
        const { key, instance, request, form } = message
        marked(key, (fn) => runner.call(fn, instance, request, form))
        return runner.rest()
      }
      case 'prepare': {
        const { key, instance, form } = message
        return marked(key, (fn) => runner.prepare(fn, instance, form))
      }
      case 'destroy':
        return runner.destroy(message.instance)
      case 'unload':
        return runner.unload(message.key)
      case 'forget':
        functions.delete(message.key)
        if (message.function_id !== null) runner.forget(message.function_id)
        return
      case 'fetch_port':
        line = new FetchLine(message.port)
        return runner.connectFetches(line)
      case 'end':
        runner.close()
        line?.close()
        return port.close()
      case 'return_memory':
        return runner.returnMemory()
    }
  })
}
