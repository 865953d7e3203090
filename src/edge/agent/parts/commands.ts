/** The part of a node that does what the control plane asks of it. */

import { rmSync } from 'node:fs'

import { Tally } from '../../stats.ts'
import { secretKeyPath } from '../cache/secret-seal.ts'
import { createEffects } from '../commands/effects.ts'
import { CommandRunner } from '../commands/runner.ts'
import { findManifest } from './modules.ts'
import type { NodeParts } from './node-parts.ts'

export function makeCommands(parts: NodeParts): CommandRunner {
  const { cp, cache, config, enrolment, closing, log, modes, command_store, retryDelayMs } =
    parts.options
  return new CommandRunner({
    cp,
    store: command_store,
    modes,
    log,
    retryDelayMs,
    leave: () => parts.options.leave(),
    execute: createEffects({
      modes,
      cache,
      closing,
      syncer: parts.syncer,
      runningCalls: () => runningCalls(parts),
      manifestOf: (row) => findManifest(parts, row.function_id, row.version, row.sha256),
      ensureArtifact: (manifest) => parts.source.ensure(manifest),
      retrySchemas: () => parts.schemaKeeper.retryNow(),
      renewWorkers: () => parts.supervisor.renew(),
      eraseCredentials: () => {
        enrolment.erase()
        // Without it nobody can read the functions' secrets in what stays of the node.
        rmSync(secretKeyPath(config.data_dir), { force: true })
      },
    }),
  })
}

function runningCalls({ arms, shared }: NodeParts): number {
  return [...arms.everSeen()].reduce(
    (sum, [_arm, slot]) => sum + Math.max(0, new Tally().add(shared.stats, slot).get('in_flight')),
    0,
  )
}

/** Tells the parts of a node of what holds for it, now and whenever it changes. */
export function openModes(parts: NodeParts): void {
  const { modes, log } = parts.options
  modes.open({
    toWorkers: (message) => parts.supervisor.setMode(message),
    onIsolation: (isolated) => {
      if (isolated) {
        log.warn('The node is isolated: it talks to no control plane until that ends.')
        parts.options.cp.abandonUnanswered()
        parts.mqtt?.cut()
        return
      }
      log.info('The node is not isolated any more.')
      controlPlaneIsBack(parts)
      parts.commands.poke()
    },
  })
}

/** The control plane can be reached again after it could not: whoever waits to retry does so now. */
export function controlPlaneIsBack(parts: NodeParts): void {
  parts.options.cp.abandonUnanswered()
  parts.syncer.poke()
  parts.heartbeat.beatNow()
  parts.mqtt?.reconnectNow()
  parts.telemetrySender.wakeSoon()
  // With MQTT they are asked for when it is connected.
  if (parts.mqtt === null) parts.commands.poke()
}
