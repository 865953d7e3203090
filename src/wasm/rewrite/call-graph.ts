/** The call graph: which functions can be on the stack more than once (those on a cycle), and an order from callees to callers. */

import type { WasmModule } from '../module.ts'
import type { FunctionProfile } from './profile.ts'

/** One node per function of the index space, and behind them one more: the table, which every indirect call goes through. */
export interface CallGraph {
  /** Whether a node lies on a cycle. */
  readonly recursive: Uint8Array
  /** All nodes, each behind those it calls; nodes of one cycle stand together. */
  readonly order: Int32Array
  /** Nodes of one cycle have the same number. */
  readonly component: Int32Array
  /** Functions that the table may hold. */
  readonly reachable: readonly number[]
}

/**
 * A call through a table may reach any function that an element segment, a constant
 * or `ref.func` names, so all of these hang on one node that every indirect caller calls. Linear, without recursion (Tarjan).
 */
export function buildCallGraph(
  module: WasmModule,
  profiles: readonly FunctionProfile[],
  referenced: ReadonlySet<number>,
): CallGraph {
  const functions = module.functions.length
  const table = functions
  const reachable = [...referenced]
  const successors = (node: number): readonly number[] => {
    if (node === table) return reachable
    return profiles[node - module.importedFunctions]?.calls ?? []
  }
  const callsTable = (node: number) =>
    (profiles[node - module.importedFunctions]?.indirectCalls ?? 0) > 0 && node < functions
  return { ...new CycleSearch(functions + 1, successors, callsTable, table).run(), reachable }
}

/** Whether a call leads along the cycle that its caller lies on. */
export function alongCycle({ recursive, component }: CallGraph, from: number, to: number): boolean {
  return recursive[from] === 1 && component[from] === component[to]
}

class CycleSearch {
  readonly #successors: (node: number) => readonly number[]
  readonly #callsTable: (node: number) => boolean
  readonly #table: number
  /** 0: not visited; else the visit's number, from 1. */
  readonly #visits: Int32Array
  readonly #low: Int32Array
  readonly #onStack: Uint8Array
  readonly #recursive: Uint8Array
  readonly #order: Int32Array
  readonly #component: Int32Array
  /** Nodes whose component is not known yet. */
  readonly #open: number[] = []
  #visited = 0
  #closed = 0

  constructor(
    nodes: number,
    successors: (node: number) => readonly number[],
    callsTable: (node: number) => boolean,
    table: number,
  ) {
    this.#successors = successors
    this.#callsTable = callsTable
    this.#table = table
    this.#visits = new Int32Array(nodes)
    this.#low = new Int32Array(nodes)
    this.#onStack = new Uint8Array(nodes)
    this.#recursive = new Uint8Array(nodes)
    this.#order = new Int32Array(nodes)
    this.#component = new Int32Array(nodes)
  }

  run(): Omit<CallGraph, 'reachable'> {
    for (let node = 0; node < this.#visits.length; node += 1) {
      if (this.#visits[node] === 0) this.#visit(node)
    }
    return { recursive: this.#recursive, order: this.#order, component: this.#component }
  }

  #visit(root: number): void {
    const path: { node: number; next: number }[] = [this.#enter(root)]
    for (let frame = path.at(-1); frame !== undefined; frame = path.at(-1)) {
      const { node } = frame
      const child = this.#child(node, frame.next)
      frame.next += 1
      if (child === null) {
        path.pop()
        const parent = path.at(-1)
        if (parent !== undefined) this.#lower(parent.node, this.#low[node] ?? 0)
        this.#close(node)
      } else if (child === node) {
        this.#recursive[node] = 1
      } else if (this.#visits[child] === 0) {
        path.push(this.#enter(child))
      } else if (this.#onStack[child] === 1) {
        this.#lower(node, this.#visits[child] ?? 0)
      }
    }
  }

  /** The successors in turn, the table last where the function calls through it; null when there are no more. */
  #child(node: number, index: number): number | null {
    const successors = this.#successors(node)
    if (index < successors.length) return successors[index] ?? null
    return index === successors.length && this.#callsTable(node) ? this.#table : null
  }

  #enter(node: number): { node: number; next: number } {
    this.#visited += 1
    this.#visits[node] = this.#visited
    this.#low[node] = this.#visited
    this.#onStack[node] = 1
    this.#open.push(node)
    return { node, next: 0 }
  }

  #lower(node: number, to: number): void {
    this.#low[node] = Math.min(this.#low[node] ?? 0, to)
  }

  /** Takes a finished component off the open nodes; with more than one member all of them are recursive. */
  #close(node: number): void {
    if (this.#low[node] !== this.#visits[node]) return
    const members = this.#open.splice(this.#open.lastIndexOf(node))
    const component = this.#closed
    for (const member of members) {
      this.#onStack[member] = 0
      if (members.length > 1) this.#recursive[member] = 1
      this.#component[member] = component
      this.#order[this.#closed] = member
      this.#closed += 1
    }
  }
}
