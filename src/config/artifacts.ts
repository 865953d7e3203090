/** Reader of `--artifacts`: where the control plane keeps modules. */

import { resolve } from 'node:path'

export type ArtifactsUrl =
  | { readonly kind: 'fs'; readonly dir: string }
  | {
      readonly kind: 's3'
      readonly bucket: string
      readonly endpoint: string | null
      readonly region: string
    }

const FORM = 'must be fs:DIR or s3://BUCKET?endpoint=URL&region=NAME'

/** `fs:DIR` (made absolute) or `s3://bucket?endpoint=…&region=…`; keys of the store come from options of their own. */
export function artifacts(value: string): ArtifactsUrl {
  if (value.startsWith('fs:') && value.length > 3)
    return { kind: 'fs', dir: resolve(value.slice(3)) }
  const parsed = value.startsWith('s3://') ? URL.parse(value) : null
  if (parsed === null || !/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(parsed.hostname)) {
    throw new Error(FORM)
  }
  if (parsed.username !== '' || parsed.password !== '') {
    throw new Error('must not carry keys; use --s3-access-key-id and --s3-secret-access-key')
  }
  if (parsed.pathname !== '' && parsed.pathname !== '/') throw new Error(FORM)
  for (const name of parsed.searchParams.keys()) {
    if (name !== 'endpoint' && name !== 'region') {
      throw new Error(`has an unknown parameter "${name}"; it may have endpoint and region`)
    }
  }
  const endpoint = parsed.searchParams.get('endpoint')
  if (endpoint !== null && !/^https?:\/\/[^/]/.test(endpoint)) {
    throw new Error('must have an endpoint that starts with http:// or https://')
  }
  const region = parsed.searchParams.get('region') || 'us-east-1'
  return { kind: 's3', bucket: parsed.hostname, endpoint, region }
}
