/** HTTP as it is on the wire, for what a client's library would hide: every byte of an answer, until the connection closes. */

import { connect } from 'node:net'

export interface WireAnswer {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly body: Buffer
  /** Bytes behind the end of the response: a second one, or a length that lies. */
  readonly surplus: Buffer
}

/** Sends one request on a connection of its own and reads until the server closes it. */
export async function wireGet(url: string, path: string): Promise<WireAnswer> {
  const { hostname, port, host } = new URL(url)
  const pieces: Buffer[] = []
  await new Promise<void>((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port) }, () => {
      socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)
    })
    socket.on('data', (piece: Buffer) => pieces.push(piece))
    socket.on('error', reject)
    socket.on('close', () => resolve())
  })
  return parseAnswer(Buffer.concat(pieces))
}

function parseAnswer(bytes: Buffer): WireAnswer {
  const end = bytes.indexOf('\r\n\r\n')
  if (end < 0) throw new Error(`No response: ${JSON.stringify(bytes.toString('latin1', 0, 200))}`)
  const [first = '', ...lines] = bytes.toString('latin1', 0, end).split('\r\n')
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1] ?? Number.NaN)
  const headers = new Map<string, string>()
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    if (headers.has(name) && name === 'content-length') throw new Error('Two content lengths.')
    headers.set(name, line.slice(colon + 1).trim())
  }
  if (headers.has('transfer-encoding')) throw new Error('The response is chunked.')
  const bodiless = status === 204 || status === 304
  const length = bodiless ? 0 : Number(headers.get('content-length') ?? Number.NaN)
  const rest = bytes.subarray(end + 4)
  return { status, headers, body: rest.subarray(0, length), surplus: rest.subarray(length) }
}
