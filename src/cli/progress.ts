/** Progress on stderr: lines that stay, and on a terminal one line below them that is redrawn. */

import type { Terminal } from './command.ts'
import { clean } from './output.ts'

export interface Progress {
  /** A line that stays. */
  line(text: string): void
  /** What is going on now; shown on a terminal only, gone with the next line. */
  status(text: string): void
  /** Takes the status away. */
  done(): void
}

export function createProgress(terminal: Terminal): Progress {
  let shown = false
  function erase(): void {
    if (shown) terminal.err('\r\x1b[K')
    shown = false
  }
  return {
    line(text) {
      erase()
      terminal.err(`${clean(text)}\n`)
    },
    status(text) {
      if (!terminal.live) return
      erase()
      terminal.err(clean(text))
      shown = true
    },
    done: erase,
  }
}
