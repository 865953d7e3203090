/** A client of `text/event-stream`, as small as tests need one. */

export interface StreamedEvent {
  readonly id: string
  readonly event: string
  readonly data: unknown
}

export interface EventClient extends AsyncDisposable {
  readonly status: number
  readonly contentType: string | null
  /** Id that a client would come again with. */
  lastId(): string | null
  /** The next event; throws when the stream ends before. */
  next(): Promise<StreamedEvent>
  /** Resolves when the stream has ended. */
  ended(): Promise<void>
}

export async function readEvents(
  url: string,
  key: string,
  headers: Record<string, string> = {},
): Promise<EventClient> {
  const abort = new AbortController()
  const response = await fetch(url, {
    headers: { authorization: `Bearer ${key}`, ...headers },
    signal: abort.signal,
  })
  const events = parse(response)
  let lastId: string | null = null
  async function advance(): Promise<StreamedEvent | null> {
    for (;;) {
      const { done, value } = await events.next()
      if (done === true) return null
      lastId = value.id
      if (value.event !== '') return value
    }
  }
  return {
    status: response.status,
    contentType: response.headers.get('content-type'),
    lastId: () => lastId,
    async next() {
      const event = await advance()
      if (event === null) throw new Error('the stream has ended')
      return event
    },
    async ended() {
      while ((await advance()) !== null);
    },
    async [Symbol.asyncDispose]() {
      abort.abort()
      await events.return(undefined).catch(() => undefined)
    },
  }
}

/** Blocks that have an id, with or without data. */
async function* parse(response: Response): AsyncGenerator<StreamedEvent, undefined> {
  if (response.body === null) return
  let text = ''
  let id = ''
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
    text += piece
    const blocks = text.split('\n\n')
    text = blocks.pop() ?? ''
    for (const block of blocks) {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1]
      id = field('id') ?? id
      const data = field('data')
      if (data === undefined) yield { id, event: '', data: null }
      else yield { id, event: field('event') ?? 'message', data: JSON.parse(data) }
    }
  }
}
