/** Compiled modules in a worker: taken only when the node has signed them, and only while a holder is parked (DESIGN 3, 5). */

import { createPublicKey } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'

import type { Native } from '../../../../ffi/native.ts'
import { park } from '../../../../ffi/parked-holder.ts'
import { EdgefnError } from '../../../errors.ts'
import type { Log } from '../../../telemetry/log.ts'
import type { CompiledFile, CompiledModule } from '../../compiled.ts'
import type { CompiledName } from '../../compiled-signature.ts'
import { holderName, isOwnTarget, verifyCompiled } from '../../compiled-signature.ts'
import type { WorkerFunction } from '../../ipc.ts'
import { HOLDER } from '../lanes/control.ts'

/** Milliseconds that a thread waits for another one to park the holder. */
const parkMsMax = 5_000

export class CompiledCode {
  readonly #native: Native
  readonly #log: Log
  readonly #key: KeyObject
  /** One word that all threads of the process share: who has parked the holder. */
  readonly #holder: Int32Array

  /** `publicKey` is SPKI, DER, base64. */
  constructor(native: Native, publicKey: string, holder: Int32Array, log: Log) {
    this.#native = native
    this.#log = log
    this.#key = createPublicKey({
      key: Buffer.from(publicKey, 'base64'),
      format: 'der',
      type: 'spki',
    })
    this.#holder = holder
  }

  /** The compiled form of a function, verified, with the holder parked. Throws EdgefnError `artifact_mismatch` or what fs throws. */
  open(fn: WorkerFunction): SharedArrayBuffer {
    const { level, target, module } = compiledOf(fn)
    const code = this.#read(module, { source: fn.sha256, level, target })
    this.makeReady(fn)
    return code
  }

  /** Parks the holder, if nobody has, for a form that another thread has verified. Throws as `open`. */
  makeReady(fn: WorkerFunction): void {
    const { target, holder } = compiledOf(fn)
    this.#parkHolder(() => this.#read(holder, holderName(target)))
  }

  /** Says that the interpreter runs a function whose compiled form cannot be had. */
  degraded(fn: WorkerFunction, reason: unknown): void {
    this.#log.failure('A compiled function cannot be loaded; it is interpreted here.', reason, {
      function_id: fn.function_id,
      context: { version: fn.version, level: fn.compiled?.level },
    })
  }

  #read(file: CompiledFile, name: CompiledName): SharedArrayBuffer {
    const code = readShared(file.path)
    if (verifyCompiled(this.#key, new Uint8Array(code), file, name)) return code
    const message = 'A compiled module is not the one that this node has signed.'
    throw new EdgefnError('artifact_mismatch', message)
  }

  /** Returns when a holder is parked in this process, by this thread or by another. */
  #parkHolder(read: () => SharedArrayBuffer): void {
    for (;;) {
      const seen = Atomics.compareExchange(this.#holder, 0, HOLDER.none, HOLDER.parking)
      if (seen === HOLDER.parked) return
      if (seen === HOLDER.none) break
      if (Atomics.wait(this.#holder, 0, HOLDER.parking, parkMsMax) === 'timed-out') {
        throw new EdgefnError('internal', 'The holder of the engine was not parked in time.')
      }
    }
    let state: number = HOLDER.none
    try {
      park(this.#native, new Uint8Array(read()))
      state = HOLDER.parked
    } finally {
      Atomics.store(this.#holder, 0, state)
      Atomics.notify(this.#holder, 0)
    }
  }
}

/** Throws `artifact_mismatch` for what this program cannot run. */
function compiledOf({ compiled }: WorkerFunction): CompiledModule {
  if (compiled === null) throw new Error('The function is not compiled.')
  if (isOwnTarget(compiled.target)) return compiled
  // The program was replaced under a running agent, and this worker started since.
  const message = 'The compiled module was made by another version of edgefn.'
  throw new EdgefnError('artifact_mismatch', message)
}

/** Reads a file into memory that other threads can be given. */
function readShared(path: string): SharedArrayBuffer {
  const file = openSync(path, 'r')
  try {
    const bytes = new Uint8Array(new SharedArrayBuffer(fstatSync(file).size))
    for (let at = 0; at < bytes.length;) {
      const count = readSync(file, bytes, at, bytes.length - at, null)
      if (count === 0) break // It was cut short, and its digest is wrong.
      at += count
    }
    return bytes.buffer
  } finally {
    closeSync(file)
  }
}
