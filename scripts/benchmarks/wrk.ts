/** The load generator wrk, and what it prints. */

export interface WrkReport {
  readonly requests: number
  readonly requestsPerSecond: number
  readonly p50Micros: number
  readonly p99Micros: number
  readonly maxMicros: number
  /** Answers that were neither 2xx nor 3xx, and errors of sockets: connect, read, write and timeout. */
  readonly badAnswers: number
  readonly socketErrors: number
}

export interface WrkLoad {
  readonly url: string
  readonly connections: number
  readonly seconds: number
  /** A Lua script that makes the requests. */
  readonly script?: string
}

/** Runs wrk with one thread to its end. Throws when it fails or prints something else than a report. */
export async function runWrk({ url, connections, seconds, script }: WrkLoad): Promise<WrkReport> {
  const words = ['wrk', '-t1', `-c${connections}`, `-d${seconds}s`, '--latency']
  if (script !== undefined) words.push('-s', script)
  const child = Bun.spawn([...words, url], { stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
  const [printed, complaints, code] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ])
  if (code !== 0)
    throw new Error(`${words.join(' ')} ${url}: exit ${code}\n${printed}${complaints}`)
  return parseWrk(printed)
}

const MICROS = { us: 1, ms: 1e3, s: 1e6, m: 60e6, h: 3600e6 } as const

/** Reads a report of `wrk --latency`. Throws when a part of it is missing. */
export function parseWrk(text: string): WrkReport {
  const sockets = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text)
  return {
    requests: Number(found(text, /(\d+) requests in /)),
    requestsPerSecond: Number(found(text, /Requests\/sec:\s+([\d.]+)/)),
    p50Micros: micros(found(text, /^\s+50(?:\.000)?%\s+(\S+)/m)),
    p99Micros: micros(found(text, /^\s+99(?:\.000)?%\s+(\S+)/m)),
    maxMicros: micros(found(text, /^\s+Latency\s+\S+\s+\S+\s+(\S+)/m)),
    badAnswers: Number(/Non-2xx or 3xx responses: (\d+)/.exec(text)?.[1] ?? 0),
    socketErrors: (sockets ?? []).slice(1).reduce((sum, count) => sum + Number(count), 0),
  }
}

function found(text: string, pattern: RegExp): string {
  const value = pattern.exec(text)?.[1]
  if (value === undefined) throw new Error(`wrk printed nothing like ${pattern}:\n${text}`)
  return value
}

/** `346.00us`, `1.53ms`, `2.00s`, `1.00m` as microseconds. */
function micros(text: string): number {
  const [, number, unit] = /^([\d.]+)(us|ms|s|m|h)$/.exec(text) ?? []
  if (number === undefined || !isUnit(unit)) throw new Error(`wrk printed the time ${text}.`)
  return Number(number) * MICROS[unit]
}

function isUnit(text: string | undefined): text is keyof typeof MICROS {
  return text !== undefined && Object.hasOwn(MICROS, text)
}
