/** The files of `edgefn dev`: each deployed once at the start and again whenever its content changes. */

import { watch, type FSWatcher } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'

import { EdgefnError, errorMessage } from '../errors.ts'
import { quotasSchema } from '../protocol/manifest.ts'
import type { Abi, Isolation } from '../protocol/manifest.ts'
import type { ApiClient } from './api-client.ts'
import type { Terminal } from './command.ts'
import { deployModule, type DeployRequest } from './deploy/deploy-module.ts'
import { functionNameOf, readModule } from './deploy/module-file.ts'
import { createProgress } from './progress.ts'
import { routeText, type RouteText } from './route-text.ts'

/** Compilers write in several steps; a change counts when nothing more came for this long. */
const settleMs = 150
const deployMsMax = 60_000

export interface DevFunctionsDeps {
  readonly client: ApiClient
  readonly terminal: Terminal
  /** Where the node serves, for the URLs. */
  readonly port: number
  /** Of every file; null: the one that each is found to speak. */
  readonly abi: Abi | null
  /** Patterns of hosts that `http_fetch` of every file may reach. */
  readonly http_allow: readonly string[]
  readonly isolation: Isolation
}

export interface DevFunctions {
  /** Deploys and starts to watch. Throws when two files would be one function; a bad module is told and waited for. */
  open(files: readonly string[]): Promise<void>
  close(): Promise<void>
}

interface DevFile {
  readonly path: string
  readonly name: string
  readonly routes: readonly RouteText[]
  /** Digest of the content last tried; a touched file that stayed the same is left alone. */
  digest: string
}

export function createDevFunctions(deps: DevFunctionsDeps): DevFunctions {
  const { client, terminal, port } = deps
  const watchers: FSWatcher[] = []
  const timers = new Map<DevFile, Timer>()
  const progress = createProgress(terminal)
  /** Deployments go one after the other. */
  let queue = Promise.resolve()
  let closed = false

  return { open, close }

  async function open(paths: readonly string[]): Promise<void> {
    const files = devFiles(paths)
    if (files.length === 0) terminal.err(`No files: deploy with edgefn deploy, port ${port}\n`)
    for (const file of files) await redeploy(file)
    for (const folder of new Set(files.map((file) => dirname(file.path)))) {
      // The folder and not the file: most tools replace a file rather than write into it.
      watchers.push(watch(folder, (_event, changed) => changedIn(folder, changed)))
    }
    function changedIn(folder: string, changed: string | null): void {
      for (const file of files) {
        if (dirname(file.path) === folder && basename(file.path) === changed) schedule(file)
      }
    }
  }

  function schedule(file: DevFile): void {
    clearTimeout(timers.get(file))
    const timer = setTimeout(() => {
      timers.delete(file)
      queue = queue.then(() => redeploy(file))
    }, settleMs)
    timers.set(file, timer)
  }

  async function redeploy(file: DevFile): Promise<void> {
    try {
      if (closed) return
      const digest = Bun.SHA256.hash(readModule(file.path), 'hex')
      if (digest === file.digest) return
      file.digest = digest
      const { version, deployed } = await deployModule(client, requestOf(file, deps), progress)
      const state = deployed ? 'serves' : 'could not take'
      progress.line(`${state} ${file.name} version ${version.version}`)
      if (!deployed) return
      for (const { path } of file.routes) progress.line(`  http://127.0.0.1:${port}${path}`)
    } catch (error) {
      // A build in progress may leave a half-written or missing file: told, and tried again at the next change.
      if (!closed) progress.line(`${file.path} is not deployed: ${errorMessage(error)}`)
    }
  }

  async function close(): Promise<void> {
    closed = true
    for (const watcher of watchers.splice(0)) watcher.close()
    for (const timer of timers.values()) clearTimeout(timer)
    timers.clear()
    await queue
  }
}

function devFiles(paths: readonly string[]): DevFile[] {
  const files = paths.map((path) => {
    const name = functionNameOf(path)
    const routes = [`/${name}/*`, ...(paths.length === 1 ? ['/*'] : [])].map(routeText)
    return { path: resolve(path), name, routes, digest: '' }
  })
  for (const { name } of files) {
    const same = files.filter((file) => file.name === name)
    if (same.length < 2) continue
    const both = same.map((file) => file.path).join(' and ')
    throw new EdgefnError('invalid_config', `${both} would both be the function ${name}.`)
  }
  return files
}

function requestOf(file: DevFile, { abi, http_allow, isolation }: DevFunctionsDeps): DeployRequest {
  return {
    file: file.path,
    name: file.name,
    abi,
    entrypoint: 'handle',
    memory_pages: null,
    max_execution_ms: null,
    env: {},
    secrets: {},
    http_allow,
    isolation,
    quotas: quotasSchema.parse({}),
    message: '',
    // While a function is written, everything about it may change.
    force: true,
    routes: file.routes,
    methods: [],
    target: 'all',
    timeout_ms: deployMsMax,
    rollout: {},
  }
}
