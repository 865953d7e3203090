/** Routes as one types them. */

import { expect, test } from 'bun:test'
import fc from 'fast-check'

import { regexRouteText, routeText, showRoute } from '../../src/cli/route-text.ts'

const accepted = [
  ['/x', { host: '*', path: '/x', path_type: 'exact' }],
  ['/x/*', { host: '*', path: '/x', path_type: 'prefix' }],
  ['/', { host: '*', path: '/', path_type: 'exact' }],
  ['/*', { host: '*', path: '/', path_type: 'prefix' }],
  ['Shop.example.com/a/b/*', { host: 'shop.example.com', path: '/a/b', path_type: 'prefix' }],
  ['*.example.com/x', { host: '*.example.com', path: '/x', path_type: 'exact' }],
  ['[::1]/x', { host: '[::1]', path: '/x', path_type: 'exact' }],
] as const
test.each(accepted)('%s is read', (text, route) => {
  expect(routeText(text)).toEqual(route)
})

const refused = [
  ['hello', 'must be [HOST]/PATH'],
  ['http://a/b', 'without scheme'],
  ['a:80/b', 'without scheme and port'],
  ['/a*', 'must have a path without *'],
  ['/*/a', 'must have a path without *'],
  ['/a?b=1', 'must have a path without *'],
] as const
test.each(refused)('%s is refused', (text, reason) => {
  expect(() => routeText(text)).toThrow(reason)
})

test('a regular expression begins at the first slash', () => {
  const route = regexRouteText('a.example.com/v[0-9]+/.*')
  expect(route).toEqual({ host: 'a.example.com', path: '/v[0-9]+/.*', path_type: 'regex' })
  expect(showRoute(route)).toBe('a.example.com ~ /v[0-9]+/.*')
  expect(showRoute(regexRouteText('/v[0-9]+'))).toBe('~ /v[0-9]+')
})

test('what is shown reads back as the same route', () => {
  const segment = fc.stringMatching(/^[a-z0-9._~-]{1,8}$/)
  const host = fc.oneof(fc.constant(''), fc.domain())
  fc.assert(
    fc.property(host, fc.array(segment, { maxLength: 4 }), fc.boolean(), (name, parts, prefix) => {
      const path = `/${parts.join('/')}`
      const route = routeText(`${name}${prefix ? `${path === '/' ? '' : path}/*` : path}`)
      expect(routeText(showRoute(route))).toEqual(route)
    }),
  )
})
