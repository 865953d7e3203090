/**
 * Modules in a process of their own, called without HTTP. Reads lines `FORM MODULE KERNEL TIMES`, form `plain` or `guarded`, the
 * module by its place among the arguments; answers each with `NANOSECONDS CHECKSUM`. Usage: bun direct-process.ts MODULE…
 */

import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

import { DirectEngine } from './direct-engine.ts'

const engine = new DirectEngine()
const modules = process.argv.slice(2).map((path) => {
  const bytes = new Uint8Array(readFileSync(path))
  return {
    plain: engine.load(engine.compile(bytes), 2),
    guarded: engine.load(engine.compile(engine.rewrite(bytes)), 2),
  }
})
for await (const line of createInterface({ input: process.stdin })) {
  const [form, module, kernel, times] = line.split(' ')
  const forms = modules[Number(module)]
  if (forms === undefined) throw new Error(`There is no module ${module}.`)
  const run = form === 'guarded' ? forms.guarded : forms.plain
  const { nanoseconds, result } = run(Number(kernel), Number(times))
  process.stdout.write(`${nanoseconds} ${result}\n`)
}
process.exit(0)
