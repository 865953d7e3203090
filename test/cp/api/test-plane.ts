/** A whole control plane on free ports with its data in a folder of its own, and what tests do with it over HTTP. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { CpConfig } from '../../../src/config/modes.ts'
import { startControlPlane, type ControlPlane } from '../../../src/cp/main.ts'
import type {
  DeploymentView,
  NodeCredentials,
  RegistrationView,
  RouteView,
} from '../../../src/protocol/api.ts'
import { heartbeatSchema, type Heartbeat } from '../../../src/protocol/messages.ts'
import type { Plan, SyncAck } from '../../../src/protocol/plan.ts'
import { createLog } from '../../../src/telemetry/log.ts'
import { assemble } from '../../wasm/wabt.ts'

export const handlerModule = assemble(`(module
  (memory (export "memory") 1)
  (func (export "alloc") (param i32) (result i32) i32.const 1024)
  (func (export "handle")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) i32.const 0))`)

export interface Answer<T> {
  readonly status: number
  readonly headers: Headers
  readonly body: T
}

export interface ErrorAnswer {
  readonly error: { code: string; message: string; details?: Record<string, unknown> }
}

export interface TestPlane extends AsyncDisposable {
  readonly config: CpConfig
  readonly key: string
  /** The running control plane; another one after `restart`. */
  plane(): ControlPlane
  restart(): Promise<void>
  /** Lines of level warn and above. */
  readonly complaints: string[]
  call<T = unknown>(
    method: string,
    path: string,
    body?: unknown,
    bearer?: string | null,
  ): Promise<Answer<T>>
  /** The same, and throws unless the status is 2xx. */
  must<T>(method: string, path: string, body?: unknown, bearer?: string): Promise<T>
  addFunction(name: string, fields?: Record<string, unknown>): Promise<RegistrationView>
  addNode(pop: string, id?: string): Promise<NodeCredentials>
  addRoute(fields: Record<string, unknown>): Promise<RouteView>
  deploy(name: string, fields?: Record<string, unknown>): Promise<DeploymentView>
  /** What an edge node does: fetches its plan and reports that all of it works. */
  syncNode(node: NodeCredentials, revision: number): Promise<Plan>
}

export async function testPlane(overrides: Partial<CpConfig> = {}): Promise<TestPlane> {
  const dir = await mkdtemp(join(tmpdir(), 'edgefn-plane-'))
  const config: CpConfig = {
    data_dir: dir,
    listen: { host: '127.0.0.1', port: 0 },
    mqtt_listen: { host: '127.0.0.1', port: 0 },
    mqtt_external: null,
    public_url: null,
    mqtt_public_url: null,
    database_url: `file:${join(dir, 'edgefn.db')}`,
    database_auth_token: null,
    artifacts: { kind: 'fs', dir: join(dir, 'artifacts') },
    heartbeat_ms: 30_000,
    preview_domain: null,
    log_level: 'warn',
    ...overrides,
  }
  const complaints: string[] = []
  const log = createLog({
    component: 'cp',
    level: 'warn',
    pretty: false,
    write: (line) => complaints.push(line),
  })
  let plane = await startControlPlane(config, log)
  const key = plane.owner_key
  if (key === null) throw new Error('no owner key')

  const call: TestPlane['call'] = async <T>(
    method: string,
    path: string,
    body?: unknown,
    bearer: string | null = key,
  ) => {
    const response = await fetch(`${plane.api_url}/api/v1${path}`, {
      method,
      headers: {
        ...(bearer === null ? {} : { authorization: `Bearer ${bearer}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    return {
      status: response.status,
      headers: response.headers,
      body: (text === '' ? null : JSON.parse(text)) as T,
    }
  }

  const must: TestPlane['must'] = async <T>(
    method: string,
    path: string,
    body?: unknown,
    bearer: string = key,
  ) => {
    const answer = await call<T>(method, path, body, bearer)
    if (answer.status >= 300) throw new Error(`${answer.status} ${JSON.stringify(answer.body)}`)
    return answer.body
  }

  return {
    config,
    key,
    plane: () => plane,
    complaints,
    call,
    must,
    async restart() {
      await plane.close()
      plane = await startControlPlane(config, log)
    },
    async addFunction(name, fields = {}) {
      const made = await must<RegistrationView>('POST', '/functions', { name, ...fields })
      const upload = await fetch(made.upload_url, { method: 'PUT', body: handlerModule })
      if (!upload.ok) throw new Error(await upload.text())
      return made
    },
    async addNode(pop, id) {
      const join = await must<{ token: string }>('POST', '/join-tokens', { pop_id: pop })
      const body = { pop_id: pop, version: '1', os: 'linux', arch: 'x64', http_port: 8787 }
      const named = id === undefined ? body : { ...body, node_id: id }
      return must<NodeCredentials>('POST', '/nodes/register', named, join.token)
    },
    addRoute: (fields) => must<RouteView>('POST', '/routes', fields),
    deploy: (name, fields = {}) =>
      must<DeploymentView>('POST', `/functions/${name}/deploy`, fields),
    async syncNode(node, revision) {
      const path = `/nodes/${node.node_id}/sync`
      const plan = await must<Plan>('GET', `${path}?revision=${revision}`, undefined, node.token)
      await must('POST', `${path}/ack`, ackOf(plan), node.token)
      return plan
    },
    async [Symbol.asyncDispose]() {
      await plane.close()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

/** The report of a node on which everything in the plan works. */
export function ackOf(plan: Plan): SyncAck {
  return {
    base_revision: plan.base_revision,
    revision: plan.revision,
    duration_ms: 1,
    results: plan.actions.flatMap((action) =>
      action.action === 'put_function'
        ? [
            {
              function_id: action.function.function_id,
              version: action.function.version,
              deployment_id: action.function.deployment_id,
              state: 'deployed' as const,
              error: null,
            },
          ]
        : [],
    ),
  }
}

export function heartbeatOf(nodeId: string, fields: Record<string, unknown> = {}): Heartbeat {
  return heartbeatSchema.parse({
    node_id: nodeId,
    status: 'online',
    cpu_percent: 1,
    mem_bytes: 1,
    functions: [],
    revision: 0,
    version: '1',
    uptime_seconds: 1,
    cache_bytes: 0,
    workers: 1,
    sent_at: new Date().toISOString(),
    ...fields,
  })
}

/** Waits until `condition` gives something other than null, false or undefined. */
export async function eventually<T>(
  condition: () => Promise<T | null | false | undefined> | T | null | false | undefined,
  what = 'the condition',
): Promise<T> {
  for (let tries = 0; tries < 4500; tries += 1) {
    const value = await condition()
    if (value !== null && value !== false && value !== undefined) return value
    await Bun.sleep(10)
  }
  throw new Error(`${what} did not come true`)
}
