/** `edgefn routes list|show|create|update|delete`. */

import {
  defaulted,
  optional,
  repeated,
  required,
  toggle,
  type Options,
} from '../../config/option.ts'
import { choice, integer, matching, text } from '../../config/values.ts'
import { EdgefnError, errorMessage } from '../../errors.ts'
import { routeViewSchema, type RouteView } from '../../protocol/api.ts'
import { HTTP_METHODS } from '../../protocol/http-methods.ts'
import type { Method } from '../../protocol/manifest.ts'
import { popSelectorSchema } from '../../protocol/selector.ts'
import { routeDetailSchema } from '../../protocol/syncs.ts'
import { CLIENT_OPTIONS } from '../client-options.ts'
import { command, type Argument } from '../command.ts'
import { connect } from '../connect.ts'
import { EXIT } from '../exit.ts'
import { printList, printRecord, timeText } from '../output.ts'
import { regexRouteText, routeText, showRoute, type RouteText } from '../route-text.ts'
import { printDeleted } from './functions.ts'

const priorityMax = 1_000_000
const ROUTE_HELP =
  '[HOST]/path for that path alone, [HOST]/path/* for all below; without HOST any host'
const ID_ARGUMENT: Argument = { name: 'ID', help: 'id of a route (routes list)', count: 'one' }

const parseMethod = (value: string): Method => choice(...HTTP_METHODS)(value.toUpperCase())

/** `--method`, repeated; also an option of `deploy`. */
export const METHOD_OPTION = {
  method: repeated(parseMethod, {
    placeholder: 'METHOD',
    help: 'method the route takes; default: every one',
  }),
} as const satisfies Options

const REGEX_OPTION = {
  regex: toggle('from its first slash the route is a regular expression over the whole path'),
} as const satisfies Options

const popSelector = matching(popSelectorSchema)

export const routesList = command({
  name: 'routes list',
  summary: 'list the routes',
  args: [],
  options: CLIENT_OPTIONS,
  async run({ values, terminal }) {
    const routes = await connect(values).list('/routes', routeViewSchema)
    printList(terminal, values.output, routes, {
      ROUTE: showRoute,
      METHODS: methodsOf,
      FUNCTION: (item) => item.function_name,
      PRIORITY: (item) => String(item.priority),
      POPS: (item) => item.pop_selector ?? 'all',
      LIVE: liveText,
      ID: (item) => item.id,
    })
    return EXIT.ok
  },
})

export const routesShow = command({
  name: 'routes show',
  summary: 'show a route and where it is live',
  args: [ID_ARGUMENT],
  options: CLIENT_OPTIONS,
  async run({ values, args: [id = ''], terminal }) {
    const route = await connect(values).get(`/routes/${encodeURIComponent(id)}`, routeDetailSchema)
    printRecord(terminal, values.output, route, routeFields(route))
    if (values.output === 'json') return EXIT.ok
    terminal.out('\n')
    printList(terminal, values.output, route.nodes, {
      NODE: (item) => item.node_id,
      POP: (item) => item.pop_id,
      LIVE: (item) => (item.live ? 'live' : 'behind'),
      REVISION: (item) => `${item.applied_revision}/${route.revision}`,
    })
    return EXIT.ok
  },
})

export const routesCreate = command({
  name: 'routes create',
  summary: 'send requests for a host and path to a function',
  args: [{ name: 'ROUTE', help: ROUTE_HELP, count: 'one' }],
  options: {
    function: required(text, { placeholder: 'FUNCTION', help: 'name or id of the function' }),
    ...METHOD_OPTION,
    ...REGEX_OPTION,
    priority: defaulted(integer(-priorityMax, priorityMax), '0', {
      placeholder: 'N',
      help: 'the highest one wins when several routes match',
    }),
    'pop-selector': optional(popSelector, {
      placeholder: 'POPS',
      help: 'POP ids separated by commas, * and leading ! allowed; default: all',
    }),
    ...CLIENT_OPTIONS,
  },
  examples: [
    "edgefn routes create '/api/*' --function hello --method GET --method POST",
    "edgefn routes create 'shop.example.com/*' --function shop --pop-selector 'tokyo-*'",
  ],
  async run({ values, args: [route = ''], terminal }) {
    const created = await connect(values).post('/routes', routeViewSchema, {
      ...readRoute(route, values.regex),
      methods: values.method,
      function: values.function,
      priority: values.priority,
      pop_selector: values['pop-selector'],
    })
    printRecord(terminal, values.output, created, routeFields(created))
    return EXIT.ok
  },
})

export const routesUpdate = command({
  name: 'routes update',
  summary: 'change a route; what is not given stays',
  args: [ID_ARGUMENT],
  options: {
    route: optional(text, { placeholder: 'ROUTE', help: ROUTE_HELP }),
    ...REGEX_OPTION,
    function: optional(text, { placeholder: 'FUNCTION', help: 'name or id of the function' }),
    method: repeated((value) => (value === 'any' ? null : parseMethod(value)), {
      placeholder: 'METHOD',
      help: 'methods the route takes from now on; any: every one',
    }),
    priority: optional(integer(-priorityMax, priorityMax), {
      placeholder: 'N',
      help: 'priority',
    }),
    'pop-selector': optional((value) => (value === 'all' ? value : popSelector(value)), {
      placeholder: 'POPS',
      help: 'POPs that get the route; all: every one',
    }),
    ...CLIENT_OPTIONS,
  },
  async run({ values, args: [id = ''], terminal }) {
    if (values.regex && values.route === null) {
      throw new EdgefnError('invalid_config', '--regex needs --route.')
    }
    const pops = values['pop-selector']
    const body = {
      ...(values.route === null ? {} : readRoute(values.route, values.regex)),
      ...(values.function === null ? {} : { function: values.function }),
      ...(values.method.length === 0 ? {} : { methods: values.method.filter((m) => m !== null) }),
      ...(values.priority === null ? {} : { priority: values.priority }),
      ...(pops === null ? {} : { pop_selector: pops === 'all' ? null : pops }),
    }
    const path = `/routes/${encodeURIComponent(id)}`
    const updated = await connect(values).put(path, routeViewSchema, body)
    printRecord(terminal, values.output, updated, routeFields(updated))
    return EXIT.ok
  },
})

export const routesDelete = command({
  name: 'routes delete',
  summary: 'delete a route',
  args: [ID_ARGUMENT],
  options: CLIENT_OPTIONS,
  async run({ values, args: [id = ''], terminal }) {
    await connect(values).delete(`/routes/${encodeURIComponent(id)}`)
    printDeleted(terminal, values, 'route', id)
    return EXIT.ok
  },
})

function readRoute(value: string, regex: boolean): RouteText {
  try {
    return regex ? regexRouteText(value) : routeText(value)
  } catch (error) {
    const got = JSON.stringify(value)
    throw new EdgefnError('invalid_config', `ROUTE: ${errorMessage(error)}, got ${got}.`)
  }
}

function methodsOf(route: RouteView): string {
  return route.methods.join(',') || 'any'
}

function liveText({ delivery: { live, nodes } }: RouteView): string {
  return `${live} of ${nodes}`
}

function routeFields(route: RouteView): Record<string, string> {
  return {
    route: showRoute(route),
    id: route.id,
    methods: methodsOf(route),
    function: route.function_name,
    priority: String(route.priority),
    pops: route.pop_selector ?? 'all',
    live: liveText(route),
    updated: timeText(route.updated_at),
  }
}
