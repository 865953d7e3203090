/**
 * A gate before the S3 server that refuses what is not signed as AWS Signature Version 4 says: s3rver takes any
 * signature. Written from the specification, so that it does not share a mistake with the client.
 */

import { createHash, createHmac } from 'node:crypto'

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest()
const encode = (text: string) =>
  encodeURIComponent(text).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  )

/** Serves `target` to requests signed with `secret`; 403 for all others. */
export function signatureGate(target: string, secret: string) {
  return Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    maxRequestBodySize: 256 * 1024 * 1024,
    async fetch(request) {
      if (!isSigned(request, secret)) {
        return new Response('<Error><Code>SignatureDoesNotMatch</Code></Error>', { status: 403 })
      }
      const { pathname, search } = new URL(request.url)
      const { method } = request
      const body = method === 'PUT' ? await request.arrayBuffer() : null
      const answer = await fetch(`${target}${pathname}${search}`, {
        method,
        headers: request.headers,
        body,
      })
      const length = answer.headers.get('content-length')
      const response = new Response(method === 'HEAD' ? null : await answer.arrayBuffer(), answer)
      if (length !== null) response.headers.set('content-length', length)
      return response
    },
  })
}

function isSigned(request: Request, secret: string): boolean {
  const url = new URL(request.url)
  const inQuery = url.searchParams.has('X-Amz-Signature')
  const field = inQuery
    ? (name: string) => url.searchParams.get(`X-Amz-${name}`) ?? ''
    : (name: string) =>
        new RegExp(`${name}=([^, ]+)`).exec(request.headers.get('authorization') ?? '')?.[1] ?? ''
  const date = inQuery ? field('Date') : (request.headers.get('x-amz-date') ?? '')
  const payload = inQuery ? 'UNSIGNED-PAYLOAD' : (request.headers.get('x-amz-content-sha256') ?? '')
  const [, day = '', region = '', service = ''] = field('Credential').split('/')
  const names = field('SignedHeaders').split(';')
  const query = [...url.searchParams]
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join('&')
  const canonical = [
    request.method,
    url.pathname,
    query,
    ...names.map((name) => `${name}:${(request.headers.get(name) ?? '').trim()}`),
    '',
    names.join(';'),
    payload,
  ].join('\n')
  const scope = `${day}/${region}/${service}/aws4_request`
  const toSign = `AWS4-HMAC-SHA256\n${date}\n${scope}\n${sha256(canonical)}`
  const key = [day, region, service, 'aws4_request'].reduce<string | Buffer>(hmac, `AWS4${secret}`)
  return createHmac('sha256', key).update(toSign).digest('hex') === field('Signature')
}
