/** A process that stands still while a guest runs into its limit, as a paused machine does; prints what came of the call. */

import { failure, request, startRuntime } from '../runtime/harness.ts'

const runtime = await startRuntime(2)
const fn = await runtime.guest('misbehave-c', { max_execution_ms: 1_000 })
await runtime.invoker.prepare(fn)
const call = runtime.invoker.invoke(fn, request('/loop'))
await Bun.sleep(300)
const pause = `kill -STOP ${process.pid}; sleep 3.5; kill -CONT ${process.pid}`
Bun.spawn(['sh', '-c', pause], { stdout: 'ignore', stderr: 'ignore' })
const code = failure(await call)
process.stdout.write(JSON.stringify({ code, defects: runtime.defects }), () => process.exit(0))
