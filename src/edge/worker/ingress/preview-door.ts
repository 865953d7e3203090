/**
 * Requests for a version by its name instead of by traffic: on a preview host (`v42--hello.preview.example.com`), or with the field
 * `x-edgefn-version` where a route leads to the function. Each needs a token of the control plane's, which is verified here.
 */

import { createPublicKey, type KeyObject, verify } from 'node:crypto'

import { EdgefnError } from '../../../errors.ts'
import type { Route } from '../../../protocol/manifest.ts'
import { routeSchema } from '../../../protocol/manifest.ts'
import {
  PREVIEW_PARAMETER,
  PREVIEW_TOKEN_FIELD,
  PREVIEW_VERSION_FIELD,
  previewIsOver,
  previewStatement,
  readPreviewLabel,
  readPreviewToken,
  readVersion,
  type PreviewClaims,
} from '../../../protocol/preview.ts'
import { armKey, type WorkerFunction } from '../../ipc.ts'
import type { PreviewFlights } from './preview-flights.ts'
import type { HeaderRecord, Identified, RequestHead } from './request.ts'
import { fieldIn } from './request.ts'
import { Call, type Serve } from './serve.ts'
import { cookieIn } from './sticky.ts'
import type { ServingTable } from './table.ts'

/** Tokens whose signatures are known to be good; each was 60 µs of the HTTP thread. */
const tokensKnownMax = 1024

export interface PreviewDoorDeps {
  readonly serve: Serve
  readonly flights: PreviewFlights
  readonly table: () => ServingTable | Promise<ServingTable>
  /** The control plane's Ed25519 key: base64url of the raw 32 bytes. */
  readonly signingKey: string
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** Idle timeout of connections, to which they return after a request that had to wait. */
  readonly idleSeconds: number
}

type Answer = Response | Promise<Response>

export interface PreviewDoor {
  /** A request on a host below the preview domain; null when its name is no version's. Throws `forbidden`. */
  onHost(identified: Identified, head: RequestHead, table: ServingTable): Answer | null
  /** A request that a route takes and that names a version. Throws `forbidden`, `bad_request`. */
  onRoute(identified: Identified, head: RequestHead, route: Route, table: ServingTable): Answer
}

export function createPreviewDoor(deps: PreviewDoorDeps): PreviewDoor {
  const tokens = new TokenVerifier(deps)

  function onHost(identified: Identified, head: RequestHead, table: ServingTable): Answer | null {
    const { preview_suffix: suffix } = table
    const wanted = suffix === null ? null : readPreviewLabel(head.host.slice(0, -suffix.length))
    if (wanted === null) return null
    const { record } = identified
    const given = tokenInQuery(head.target)
    const token =
      given?.token ??
      fieldIn(record, PREVIEW_TOKEN_FIELD) ??
      cookieIn(fieldIn(record, 'cookie'), PREVIEW_PARAMETER)
    const claims = tokens.claimsOf(token, ({ version }) => version === wanted.version)
    if (given !== null && (head.method === 'GET' || head.method === 'HEAD')) {
      return withCookie(given, claims.expires - Math.floor(deps.now() / 1000))
    }
    const kept = given === null ? head : { ...head, target: given.rest }
    const route = hostRoute(claims.function_id)
    return serveVersion(identified, kept, route, table, claims, token ?? '', wanted.name)
  }

  function onRoute(
    identified: Identified,
    head: RequestHead,
    route: Route,
    table: ServingTable,
  ): Answer {
    const { record } = identified
    const version = readVersion(fieldIn(record, PREVIEW_VERSION_FIELD) ?? '')
    if (version === null) {
      throw new EdgefnError(
        'bad_request',
        `${PREVIEW_VERSION_FIELD} must be a version such as v42.`,
      )
    }
    const token = fieldIn(record, PREVIEW_TOKEN_FIELD)
    const claims = tokens.claimsOf(
      token,
      (said) => said.version === version && said.function_id === route.function_id,
    )
    return serveVersion(identified, head, route, table, claims, token ?? '', null)
  }

  function serveVersion(
    identified: Identified,
    head: RequestHead,
    route: Route,
    table: ServingTable,
    claims: PreviewClaims,
    token: string,
    name: string | null,
  ): Answer {
    const record = withoutToken(identified.record)
    const serveRow = (row: WorkerFunction) => {
      if (name !== null && row.name !== name) throw otherVersion()
      identified.functionId = row.function_id
      return deps.serve(new Call({ ...identified, record }, head, route, row))
    }
    const row = rowOf(table, claims)
    return row === null ? bring(identified, claims, token).then(serveRow) : serveRow(row)
  }

  async function bring(
    { connection }: Identified,
    claims: PreviewClaims,
    token: string,
  ): Promise<WorkerFunction> {
    connection.patience(Math.ceil(deps.flights.waitMsMax / 1000) + 5)
    try {
      await deps.flights.bring(claims, token)
    } finally {
      connection.patience(deps.idleSeconds)
    }
    const row = rowOf(await deps.table(), claims)
    if (row !== null) return row
    throw new EdgefnError('function_unavailable', 'The version is not on this node any more.')
  }

  return { onHost, onRoute }
}

/** The version, be it one that has traffic. */
function rowOf({ functions }: ServingTable, claims: PreviewClaims): WorkerFunction | null {
  const main = functions.get(claims.function_id)
  if (main?.version === claims.version) return main
  return functions.get(armKey(claims)) ?? null
}

class TokenVerifier {
  readonly #key: KeyObject
  readonly #now: () => number
  readonly #known = new Map<string, PreviewClaims>()

  constructor({ signingKey, now }: PreviewDoorDeps) {
    const key = { kty: 'OKP', crv: 'Ed25519', x: signingKey }
    this.#key = createPublicKey({ key, format: 'jwk' })
    this.#now = now
  }

  /**
   * Throws `forbidden` unless the token is the control plane's, its time is not over and it `fits`. The signature comes last: who
   * has no token at all is to cost as little as may be.
   */
  claimsOf(token: string | undefined, fits: (claims: PreviewClaims) => boolean): PreviewClaims {
    if (token === undefined || token === '') {
      throw new EdgefnError('forbidden', 'A version is previewed with a preview token only.')
    }
    const known = this.#known.get(token)
    const read = known === undefined ? readPreviewToken(token) : null
    const claims = known ?? read?.claims
    if (claims === undefined) throw invalid()
    if (!fits(claims)) throw otherVersion()
    if (claims.expires * 1000 <= this.#now()) {
      throw new EdgefnError('forbidden', previewIsOver(claims.expires, 'node', this.#now()))
    }
    if (read === null) return claims
    if (!this.#isSigned(claims, read.signature)) throw invalid()
    if (this.#known.size >= tokensKnownMax) this.#known.clear()
    this.#known.set(token, claims)
    return claims
  }

  #isSigned(claims: PreviewClaims, signature: string): boolean {
    return verify(null, previewStatement(claims), this.#key, Buffer.from(signature, 'base64url'))
  }
}

interface QueryToken {
  readonly token: string
  /** The target without it. */
  readonly rest: string
}

function tokenInQuery(target: string): QueryToken | null {
  const at = target.indexOf('?')
  const prefix = `${PREVIEW_PARAMETER}=`
  const pairs = at < 0 ? [] : target.slice(at + 1).split('&')
  const given = pairs.find((pair) => pair.startsWith(prefix))
  if (given === undefined) return null
  const others = pairs.filter((pair) => pair !== given).join('&')
  const path = target.slice(0, at)
  return { token: given.slice(prefix.length), rest: others === '' ? path : `${path}?${others}` }
}

/** A browser keeps the token from here on, and its address bar does not. */
function withCookie({ token, rest }: QueryToken, seconds: number): Response {
  const cookie = `${PREVIEW_PARAMETER}=${token}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Lax`
  const headers = { location: locationOf(rest), 'set-cookie': cookie, 'cache-control': 'no-store' }
  return new Response(null, { status: 303, headers })
}

/** On this host: browsers read two slashes, of either kind, as the beginning of another one. */
export function locationOf(target: string): string {
  return target.replace(/^[/\\]+/, '/')
}

/** The guest is not to have the token: it would be one for this version only, but for its owner to give away. */
function withoutToken(record: HeaderRecord): HeaderRecord {
  const { [PREVIEW_TOKEN_FIELD]: _token, cookie, ...rest } = record
  const field = typeof cookie === 'object' ? cookie.join('; ') : cookie
  const prefix = `${PREVIEW_PARAMETER}=`
  const kept = (field?.split(';') ?? []).filter((pair) => !pair.trim().startsWith(prefix))
  return kept.length === 0 ? rest : { ...rest, cookie: kept.join(';').trim() }
}

/** All of a preview host leads to the function. */
function hostRoute(functionId: string): Route {
  return routeSchema.parse({
    route_id: '00000000-0000-0000-0000-000000000000',
    host: '*',
    path: '/',
    path_type: 'prefix',
    methods: [],
    priority: 0,
    function_id: functionId,
  })
}

function invalid(): EdgefnError {
  return new EdgefnError('forbidden', 'The preview token is not valid.')
}

function otherVersion(): EdgefnError {
  return new EdgefnError('forbidden', 'The preview token is of another version.')
}
