/** What a run prints: tables, notes, and the goals beside what was reached. */

import { isReached, type Goal } from './goals.ts'
import type { ScenarioResult } from './scenario.ts'
import { figure, ratio, renderTable } from './table.ts'

/** The tables and notes of one scenario. */
export function renderScenario(name: string, { tables, notes }: ScenarioResult): string {
  const parts = [...tables.map(renderTable), ...notes.map((note) => `Note: ${note}`)]
  return `== ${name}\n\n${parts.join('\n\n')}\n`
}

export function renderGoals(goals: readonly Goal[]): string {
  const rows = goals.map((goal) => [
    goal.text,
    `${goal.direction === 'at least' ? '≥' : '≤'} ${quantity(goal.wanted, goal)}`,
    goal.reached === null ? (goal.why ?? 'not measured') : quantity(goal.reached, goal),
    verdict(goal),
  ])
  return renderTable({ title: 'Goals', head: ['goal', 'wanted', 'reached', ''], rows })
}

function verdict(goal: Goal): string {
  if (goal.reached === null) return '–'
  return isReached(goal) ? 'ok' : 'missed'
}

function quantity(value: number, { unit }: Goal): string {
  return unit === undefined || unit === '' ? ratio(value) : `${figure(value)} ${unit}`
}
