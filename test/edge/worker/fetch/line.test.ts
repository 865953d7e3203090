/** What an executor thread's line tells the fetch thread. */

import { expect, test } from 'bun:test'
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads'

import { FetchLine } from '../../../../src/edge/worker/fetch/line.ts'

test('refused fetches are told once for each call and reason, however many there were', () => {
  const { port1, port2 } = new MessageChannel()
  const line = new FetchLine(port1)
  for (let fetch = 0; fetch < 10_000; fetch += 1) line.refused('too_many_fetches')
  line.refused('invalid')
  expect(receiveMessageOnPort(port2)).toBeUndefined()
  line.tellRefused()
  line.tellRefused()
  expect(receiveMessageOnPort(port2)?.message).toEqual({
    type: 'refused',
    failure: 'too_many_fetches',
    times: 10_000,
  })
  expect(receiveMessageOnPort(port2)?.message).toMatchObject({ failure: 'invalid', times: 1 })
  expect(receiveMessageOnPort(port2)).toBeUndefined()
  port1.close()
})
