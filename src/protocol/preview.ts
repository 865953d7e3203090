/** Previews: a version that answers on any node to whoever holds a token for it, whatever traffic it has. */

import { z } from 'zod'

import {
  deploymentIdSchema,
  functionIdSchema,
  functionNameSchema,
  timestampSchema,
  versionSchema,
} from './ids.ts'
import { LIMITS } from './limits.ts'

/** Fields of a request that asks for a version, and is allowed to. */
export const PREVIEW_VERSION_FIELD = 'x-edgefn-version'
export const PREVIEW_TOKEN_FIELD = 'x-edgefn-preview-token'
/** Name of the query parameter, and of the cookie that it becomes, on a preview host. */
export const PREVIEW_PARAMETER = 'edgefn_preview'

/** What a token allows. */
export interface PreviewClaims {
  readonly function_id: string
  readonly version: number
  /** Seconds since the epoch. */
  readonly expires: number
}

const TOKEN = /^epv_([0-9a-f-]{36})\.([1-9]\d{0,9})\.(\d{10,11})\.([\w-]{86})$/

/** The bytes that the control plane signs (Ed25519); a prefix keeps the signature from meaning anything else. */
export function previewStatement(claims: PreviewClaims): Uint8Array<ArrayBuffer> {
  const { function_id, version, expires } = claims
  return new TextEncoder().encode(`edgefn-preview-v1:${function_id}:${version}:${expires}`)
}

/** The token of claims and their signature, base64url. */
export function previewToken(claims: PreviewClaims, signature: string): string {
  return `epv_${claims.function_id}.${claims.version}.${claims.expires}.${signature}`
}

/** What a token says, which is worth nothing before its signature and its time were looked at; null when it is none. */
export function readPreviewToken(
  token: string,
): { readonly claims: PreviewClaims; readonly signature: string } | null {
  const [, function_id, version, expires, signature] = TOKEN.exec(token) ?? []
  if (function_id === undefined || signature === undefined) return null
  return {
    claims: { function_id, version: Number(version), expires: Number(expires) },
    signature,
  }
}

/** A version as requests write it: `v42` or `42`; null for anything else. */
export function readVersion(text: string): number | null {
  const digits = /^v?([1-9]\d{0,9})$/.exec(text)?.[1]
  return digits === undefined ? null : Number(digits)
}

/** The label of a preview host below the domain: `v42--hello`; null when it is no preview's. */
export function readPreviewLabel(label: string): { name: string; version: number } | null {
  const [, version, name] = /^v([1-9]\d{0,9})--([a-z0-9](?:[a-z0-9-]*[a-z0-9])?)$/.exec(label) ?? []
  return name === undefined ? null : { name, version: Number(version) }
}

/** A name in the DNS has labels of at most so many characters. */
const labelCharsMax = 63

/** `v42--hello.preview.example.com`; null when the name is too long to be one. */
export function previewHost(name: string, version: number, domain: string): string | null {
  const label = `v${version}--${name}`
  return label.length > labelCharsMax ? null : `${label}.${domain}`
}

/** Why a token is refused whose time is over by the clock of who says so; `expires` in Unix seconds, `nowMs` in milliseconds. */
export function previewIsOver(expires: number, whose: string, nowMs = Date.now()): string {
  const at = new Date(expires * 1000).toISOString()
  return `The preview token expired at ${at}, and the clock of the ${whose} says ${new Date(nowMs).toISOString()}.`
}

/** `POST /functions/:id/versions/:version/preview`. */
export const previewCreationSchema = z.strictObject({
  ttl_seconds: z
    .int()
    .min(LIMITS.previewTokenSecondsMin)
    .max(LIMITS.previewTokenSecondsMax)
    .default(LIMITS.previewTokenSecondsDefault),
})

export const previewViewSchema = z.strictObject({
  function_id: functionIdSchema,
  name: functionNameSchema,
  version: versionSchema,
  token: z.string(),
  expires_at: timestampSchema,
  /** The preview's own host; null when the control plane has no preview domain, or the name is too long for one. */
  host: z.string().nullable(),
})
export type PreviewView = z.infer<typeof previewViewSchema>

/** `POST /nodes/:id/previews`, whose answer is a manifest: the node was asked for a version by whoever holds the token. */
export const previewRequestSchema = z.strictObject({ token: z.string().max(300) })

/** The deployment of manifests that no deployment brought to a node. */
export const NO_DEPLOYMENT = deploymentIdSchema.parse('00000000-0000-0000-0000-000000000000')
