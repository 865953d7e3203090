/** The newest head of the control plane's audit log that this node has been told of, kept on its disk (`docs/AUDIT.md`). */

import { existsSync, readFileSync } from 'node:fs'

import { auditHeadSchema, type AuditHead } from '../../protocol/audit-chain.ts'
import type { Log } from '../../telemetry/log.ts'
import { writePrivately } from './private-file.ts'

export class AuditHeadFile {
  readonly #path: string
  readonly #log: Log
  #head: AuditHead | undefined

  constructor(path: string, log: Log) {
    this.#path = path
    this.#log = log
    this.#head = read(path)
  }

  /** What goes with every heartbeat; undefined until the first answer. */
  get current(): AuditHead | undefined {
    return this.#head
  }

  /** Keeps a newer head, or any that replaces. A disk that does not take it leaves it in memory. */
  take(given: AuditHead & { readonly replaces: boolean }): void {
    const { seq, hash, replaces } = given
    if (!replaces && this.#head !== undefined && this.#head.seq >= seq) return
    this.#head = { seq, hash }
    try {
      writePrivately(this.#path, `${JSON.stringify(this.#head)}\n`)
    } catch (thrown) {
      this.#log.failure('The head of the audit log could not be stored.', thrown)
    }
  }
}

/** A file that is damaged is none: the control plane gives the head again. */
function read(path: string): AuditHead | undefined {
  if (!existsSync(path)) return undefined
  try {
    return auditHeadSchema.parse(JSON.parse(readFileSync(path, 'utf8')))
  } catch {
    return undefined
  }
}
