import { expect, test } from 'bun:test'

import { parseWrk } from '../../scripts/benchmarks/wrk.ts'

const REPORT = `Running 2s test @ http://127.0.0.1:4711/hello/world
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   349.01us  231.59us   5.21ms   92.33%
    Req/Sec   186.33k     8.34k  196.26k    80.00%
  Latency Distribution
     50%  275.00us
     75%  330.00us
     90%  520.00us
     99%    1.01ms
  371234 requests in 2.00s, 46.02MB read
Requests/sec: 185617.04
Transfer/sec:     23.01MB
`

test('a report is read with its times in microseconds', () => {
  expect(parseWrk(REPORT)).toEqual({
    requests: 371_234,
    requestsPerSecond: 185_617.04,
    p50Micros: 275,
    p99Micros: 1010,
    maxMicros: 5210,
    badAnswers: 0,
    socketErrors: 0,
  })
})

test('errors of sockets and answers that are no successes are counted', () => {
  const report = REPORT.replace(
    'Requests/sec',
    '  Socket errors: connect 1, read 20, write 300, timeout 4000\n  Non-2xx or 3xx responses: 17\nRequests/sec',
  )
  const { socketErrors, badAnswers } = parseWrk(report)
  expect([socketErrors, badAnswers]).toEqual([4321, 17])
})

test('seconds, minutes and hours are times too', () => {
  const times = (text: string) => parseWrk(REPORT.replace('1.01ms', text)).p99Micros
  expect([times('1.53s'), times('2.00m'), times('1.00h')]).toEqual([1_530_000, 120e6, 3600e6])
})

test('a report that lacks something is refused with its text', () => {
  expect(() => parseWrk(REPORT.replace('Requests/sec', 'Requests'))).toThrow('Requests: 185617.04')
  expect(() => parseWrk(REPORT.replace('275.00us', '275.00'))).toThrow('the time 275.00')
  expect(() => parseWrk('unable to connect')).toThrow('unable to connect')
})
