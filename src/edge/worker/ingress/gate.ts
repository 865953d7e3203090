/** Whether a worker takes requests: one of a drained node refuses them, and one that is to end sends its clients elsewhere. */

import { EdgefnError } from '../../../errors.ts'
import { errorResponse } from '../../../http/error-response.ts'
import { requestIdOf } from '../../../http/request-id.ts'
import type { StatsFile } from '../../stats.ts'
import { discardBody } from './body.ts'
import type { Handler } from './handle.ts'

/** How long a node that is drained asks its clients to stay away: load balancers need so long to notice. */
const retryAfterMs = 5_000

export class Gate {
  readonly #stats: Pick<StatsFile, 'addWorker'>
  #drained = false
  #parting = false
  #parted = 0

  constructor(stats: Pick<StatsFile, 'addWorker'>) {
    this.#stats = stats
  }

  setDrained(drained: boolean): void {
    this.#drained = drained
  }

  /** From now on every answer ends its connection, so that none is idle when the listener closes. */
  part(): void {
    this.#parting = true
  }

  /** How many requests have come since. */
  get parted(): number {
    return this.#parted
  }

  /** `handle` behind this gate. */
  guard(handle: Handler): Handler {
    return (request, connection) => {
      if (this.#drained) return this.#refuse(request)
      const response = handle(request, connection)
      if (!this.#parting) return response
      this.#parted += 1
      return response instanceof Promise ? response.then(closing) : closing(response)
    }
  }

  async #refuse(request: Request): Promise<Response> {
    this.#stats.addWorker('requests', 1)
    this.#stats.addWorker('refused', 1)
    const requestId = requestIdOf(request.headers.get('x-request-id'))
    const error = new EdgefnError('node_drained', 'The node takes no requests at present.', {
      details: { retry_after_ms: retryAfterMs },
    })
    await discardBody(request)
    return closing(errorResponse(error, requestId))
  }
}

function closing(response: Response): Response {
  response.headers.set('connection', 'close')
  return response
}
