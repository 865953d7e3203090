import { describe, expect, test } from 'bun:test'

import { InlineTurn, InlineWaste, Proof } from '../../../../src/edge/worker/pool/proof.ts'
import { LIMITS } from '../../../../src/protocol/limits.ts'

const quickMs = 0.05
const longMs = LIMITS.inlineMeanMsMax * 2

/** Notes calls until one may be let in; the number of calls that took, or null when a thousand were not enough. */
function callsToProve(proof: Proof, nowMs: number, busyMs = quickMs): number | null {
  for (let calls = 1; calls <= 1000; calls += 1) {
    if (proof.ranOnThread(busyMs, nowMs)) return calls
  }
  return null
}

test('a function is let in after enough quick calls, and not while more than one in a hundred is long', () => {
  const proof = new Proof()
  expect(proof.inline).toBe(false)
  expect(callsToProve(proof, 0)).toBe(LIMITS.inlineProofCallsMin)
  expect(proof.inline).toBe(false)
  proof.promote()
  expect(proof.inline).toBe(true)
  expect(callsToProve(new Proof(), 0, longMs)).toBeNull()

  const mixed = new Proof()
  for (let call = 0; call < 1000; call += 1) {
    expect(mixed.ranOnThread(call % 50 === 0 ? longMs : quickMs, 0)).toBe(false)
  }
  const single = new Proof()
  single.ranOnThread(longMs, 0)
  expect(callsToProve(single, 0)).toBe(LIMITS.inlineProofCallsMin + 100 - 1)
})

test('calls that are long in the mean, or slow too often, send it back; it comes again after the shortest pause', () => {
  for (const busyMs of [longMs, LIMITS.inlineSlowMs + 1]) {
    const proof = new Proof()
    proof.promote()
    for (let call = 0; call < 200 && proof.inline; call += 1) proof.ranInline(busyMs, 1_000)
    expect(proof.inline).toBe(false)
    expect(callsToProve(proof, 1_000 + LIMITS.inlinePauseMsMin - 1)).toBeNull()
    expect(callsToProve(proof, 1_000 + LIMITS.inlinePauseMsMin)).toBe(LIMITS.inlineProofCallsMin)
  }
  const good = new Proof()
  good.promote()
  for (let call = 0; call < 10_000; call += 1) {
    good.ranInline(call % 200 === 100 ? LIMITS.inlineSlowMs + 1 : quickMs, 0)
  }
  expect(good.inline).toBe(true)
})

test('who has to be stopped stays away twice as long each time, up to the most', () => {
  const proof = new Proof()
  let now = 0
  for (let fall = 0; fall < 20; fall += 1) {
    proof.promote()
    proof.fall(now)
    const pauseMs = Math.min(LIMITS.inlinePauseMsMin * 2 ** fall, LIMITS.inlinePauseMsMax)
    expect(callsToProve(proof, now + pauseMs - 1)).toBeNull()
    now += pauseMs
    expect(callsToProve(proof, now)).toBe(LIMITS.inlineProofCallsMin)
  }
})

test('after enough good calls what was before is forgotten', () => {
  const proof = new Proof()
  for (let fall = 0; fall < 5; fall += 1) proof.fall(0)
  proof.promote()
  for (let call = 0; call < LIMITS.inlineForgivenCalls; call += 1) proof.ranInline(quickMs, 0)
  proof.fall(0)
  expect(callsToProve(proof, LIMITS.inlinePauseMsMin)).toBe(LIMITS.inlineProofCallsMin)
})

test('a function whose code has gone holds nothing against it', () => {
  const proof = new Proof()
  proof.promote()
  proof.leave()
  expect(proof.inline).toBe(false)
  expect(callsToProve(proof, 0)).toBe(LIMITS.inlineProofCallsMin)
})

test('one slow call in a hundred is told as such and borne, however long it took; the next one in these is not', () => {
  const proof = new Proof()
  proof.promote()
  for (let call = 1; call < LIMITS.inlineForgivenCalls; call += 1) {
    expect(proof.ranInline(quickMs, 0)).toBe(false)
  }
  expect(proof.ranInline(100 * LIMITS.inlineMsMax, 0)).toBe(true)
  expect([proof.inline, proof.quick]).toEqual([true, false])
  for (let call = 0; call < 200; call += 1) proof.ranInline(quickMs / 5, 0)
  expect(proof.quick).toBe(true)

  const young = new Proof()
  young.promote()
  for (let call = 0; call < 50; call += 1) young.ranInline(quickMs, 0)
  young.ranInline(LIMITS.inlineSlowMs + 1, 0)
  expect(young.inline).toBe(true)
  young.ranInline(LIMITS.inlineSlowMs + 1, 0)
  expect(young.inline).toBe(false)
})

test('wasted time is much until it has faded', () => {
  const waste = new InlineWaste()
  expect(waste.isMuch(0)).toBe(false)
  for (let wasted = 10; wasted <= LIMITS.inlineWastedMsMax; wasted += 10) {
    waste.wasted(10, 0)
    expect(waste.isMuch(0)).toBe(false)
  }
  waste.wasted(LIMITS.inlineWastedMsMax, 0)
  expect(waste.isMuch(LIMITS.inlineWasteHalfMs - 1)).toBe(true)
  expect(waste.isMuch(LIMITS.inlineWasteHalfMs)).toBe(false)
  waste.wasted(LIMITS.inlineWastedMsMax / 4, LIMITS.inlineWasteHalfMs)
  expect(waste.isMuch(LIMITS.inlineWasteHalfMs)).toBe(true)
})

describe('a turn of the event loop', () => {
  function turn() {
    const ends: (() => void)[] = []
    return { turn: new InlineTurn((end) => ends.push(end)), ends }
  }

  test('belongs to a function that is alone, and for as long as others have not called for a while', () => {
    const { turn: one } = turn()
    for (let call = 0; call < 10; call += 1) one.calls('a', 0)
    one.took(10 * LIMITS.inlineTurnQuickMsMax)
    expect(one.hasRoom(false, 0)).toBe(true)
    one.calls('b', 0)
    expect(one.hasRoom(false, 0)).toBe(false)
    expect(one.hasRoom(true, LIMITS.inlineSharedMs - 1)).toBe(false)
    expect(one.hasRoom(false, LIMITS.inlineSharedMs)).toBe(true)
  })

  test('has room for calls until they have taken so much, for quick ones a little longer, and anew when it has ended', () => {
    const { turn: shared, ends } = turn()
    shared.calls('a', 0)
    shared.calls('b', 0)
    const room = () => [shared.hasRoom(false, 0), shared.hasRoom(true, 0)]
    shared.took(0.01)
    expect(ends).toEqual([])
    expect(room()).toEqual([true, true])
    shared.took(LIMITS.inlineTurnMsMax)
    expect(room()).toEqual([false, true])
    shared.took(LIMITS.inlineTurnQuickMsMax)
    expect(room()).toEqual([false, false])
    expect(ends).toHaveLength(1)
    ends.pop()?.()
    expect(room()).toEqual([true, true])
    shared.took(LIMITS.inlineTurnMsMax)
    expect(ends).toHaveLength(1)
  })
})
