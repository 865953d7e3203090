/** Messages from executor threads to the fetch thread. Both ends are in one process, so they are typed, not parsed. */

import type { FetchFailure } from './outcome.ts'

export type ToFetchThread =
  | {
      readonly type: 'start'
      /** Names the fetch in later messages on the same port. */
      readonly id: number
      readonly memory: SharedArrayBuffer
      /** The guest's request, as it wrote it (`request.ts`). */
      readonly text: Uint8Array<ArrayBuffer>
      /** Where the call's own request has been (`loop.ts`). */
      readonly places: string
      readonly allow: readonly string[]
      /** The pool key of the function version: what is limited together. */
      readonly owner: string
      /** Milliseconds that are left to the call. */
      readonly left_ms: number
    }
  /** There is room in the ring again. */
  | { readonly type: 'resume'; readonly id: number }
  /** Nobody waits for the response any more. */
  | { readonly type: 'cancel'; readonly id: number }
  /** Fetches that failed before they got here, for the count. */
  | { readonly type: 'refused'; readonly failure: FetchFailure; readonly times: number }
