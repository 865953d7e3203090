/** What each command does on the node, beside the mode that it sets. */

import { EdgefnError, errorMessage } from '../../../errors.ts'
import type { NodeCommand } from '../../../protocol/commands.ts'
import type { Manifest } from '../../../protocol/manifest.ts'
import type { ArtifactCache, ArtifactRow } from '../cache/artifact-cache.ts'
import type { Syncer } from '../sync/syncer.ts'
import type { NodeModes } from './modes.ts'
import type { Detail, Execute } from './runner.ts'

/** Milliseconds between looks at what is waited for. */
const lookMs = 50
/** How long workers may take to hear that they are to refuse calls; no look before says anything. */
const hearMs = 200
/** How long the calls of a node that is removed may take at most. */
const leavingMsMax = 30_000

interface EffectDeps {
  readonly modes: NodeModes
  readonly cache: Pick<ArtifactCache, 'rows' | 'drop'>
  readonly syncer: Pick<Syncer, 'poke' | 'counts' | 'state'>
  /** Calls that run on the node now. */
  runningCalls(): number
  /** The manifest of a cached file that is in service or is to be; null when it is neither. */
  manifestOf(row: ArtifactRow): Manifest | null
  ensureArtifact(manifest: Manifest): Promise<string>
  /** Has failed schemas tried again with the next sync. */
  retrySchemas(): void
  /** Replaces all workers, one after the other. */
  renewWorkers(): Promise<void>
  eraseCredentials(): void
  readonly closing: AbortSignal
}

export function createEffects(deps: EffectDeps): Execute {
  let renewing: Promise<void> = Promise.resolve()
  return async function execute(command, msMax): Promise<Detail> {
    switch (command.type) {
      case 'drain':
        return { running: await drain(deps, msMax) }
      case 'undrain':
      case 'set_log_level':
        return {}
      case 'sync':
        return sync(deps, msMax)
      case 'purge_cache':
        return purge(deps, command)
      case 'restart_workers': {
        const renewed = renewing.then(() => deps.renewWorkers())
        renewing = renewed.catch(() => undefined)
        await renewed
        return {}
      }
      case 'isolate': {
        await deps.modes.isolationEnds()
        return { isolated_seconds: command.params.for_seconds }
      }
      case 'remove': {
        const running = await drain(deps, Math.min(msMax, leavingMsMax)).catch(() => -1)
        deps.eraseCredentials()
        return { credentials: 'erased', ...(running === 0 ? {} : { cut_off: 'calls still ran' }) }
      }
    }
  }
}

/** Resolves when no call runs; throws `conflict` when the node is not drained any more, `overloaded` when time is up. */
async function drain({ modes, runningCalls, closing }: EffectDeps, msMax: number): Promise<number> {
  const giveUpAt = performance.now() + msMax
  await Bun.sleep(hearMs)
  for (let quiet = 0; quiet < 2;) {
    if (closing.aborted) throw new EdgefnError('shutting_down', 'The agent is shutting down.')
    if (!modes.drained) {
      throw new EdgefnError('conflict', 'The node was told to serve again before it was drained.')
    }
    const running = runningCalls()
    quiet = running === 0 ? quiet + 1 : 0
    if (running > 0 && performance.now() > giveUpAt) {
      throw new EdgefnError('overloaded', `The node is drained, and ${running} calls still run.`)
    }
    await Bun.sleep(lookMs)
  }
  return 0
}

/** Two passes: the first may have begun before it was asked for. */
async function sync({ syncer, closing, retrySchemas }: EffectDeps, msMax: number): Promise<Detail> {
  const giveUpAt = performance.now() + msMax
  retrySchemas()
  for (let pass = 0; pass < 2; pass += 1) {
    const before = syncer.counts.succeeded
    const failedBefore = syncer.counts.failed
    syncer.poke()
    while (syncer.counts.succeeded === before) {
      if (syncer.counts.failed > failedBefore) {
        throw new EdgefnError('cp_unreachable', "The sync failed; the node's log says why.")
      }
      if (closing.aborted || performance.now() > giveUpAt) {
        throw new EdgefnError('overloaded', 'The sync did not end in time.')
      }
      await Bun.sleep(lookMs)
    }
  }
  return { revision: syncer.state.revision }
}

/** Files in service are fetched again at once: the workers go on with what they have loaded. */
async function purge(
  { cache, manifestOf, ensureArtifact }: EffectDeps,
  { params }: Extract<NodeCommand, { type: 'purge_cache' }>,
): Promise<Detail> {
  const isMeant = (row: ArtifactRow) => {
    if (params.scope === 'unused') return manifestOf(row) === null
    return params.scope === 'all' || row.function_id === params.function_id
  }
  let bytes = 0
  const again: Manifest[] = []
  const rows = cache.rows().filter(isMeant)
  for (const row of rows) {
    const manifest = manifestOf(row)
    if (manifest !== null) again.push(manifest)
    cache.drop(row)
    bytes += row.size_bytes
  }
  for (const manifest of again) {
    try {
      await ensureArtifact(manifest)
    } catch (thrown) {
      throw new EdgefnError(
        'function_unavailable',
        `${rows.length} files were removed; ${manifest.name} version ${manifest.version} is in service and could not be fetched again: ${errorMessage(thrown)}`,
        { cause: thrown },
      )
    }
  }
  return { files: rows.length, bytes, fetched_again: again.length }
}
