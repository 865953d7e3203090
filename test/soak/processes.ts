/** Memory and open files of processes over time, and how they grow. */

import { readdirSync } from 'node:fs'

import { residentBytes } from '../e2e/vital-signs.ts'

export interface Sample {
  readonly seconds: number
  readonly rss_bytes: number
  readonly files: number
}

/** What grows, in percent of its mean per hour, by least squares. */
export interface Slopes {
  readonly rss: number
  readonly files: number
}

export class ProcessRecord {
  readonly role: string
  readonly pid: number
  readonly samples: Sample[] = []

  constructor(role: string, pid: number) {
    this.role = role
    this.pid = pid
  }

  /** Takes a sample; null when the process is gone. */
  take(seconds: number): Sample | null {
    try {
      const files = readdirSync(`/proc/${this.pid}/fd`).length
      const sample = { seconds, rss_bytes: residentBytes(this.pid), files }
      this.samples.push(sample)
      return sample
    } catch {
      return null
    }
  }

  /** Slopes from `fromSeconds` on; null with too few samples for a line. */
  slopes(fromSeconds: number): Slopes | null {
    const later = this.samples.filter(({ seconds }) => seconds >= fromSeconds)
    if (later.length < 10) return null
    const seconds = later.map((sample) => sample.seconds)
    return {
      rss: percentPerHour(
        seconds,
        later.map((sample) => sample.rss_bytes),
      ),
      files: percentPerHour(
        seconds,
        later.map((sample) => sample.files),
      ),
    }
  }
}

/** The slope of the least-squares line through the points, in percent of the mean of `values` per hour. */
export function percentPerHour(seconds: readonly number[], values: readonly number[]): number {
  const meanSeconds = mean(seconds)
  const meanValue = mean(values)
  let covariance = 0
  let variance = 0
  for (const [at, second] of seconds.entries()) {
    covariance += (second - meanSeconds) * ((values[at] ?? 0) - meanValue)
    variance += (second - meanSeconds) ** 2
  }
  return variance === 0 || meanValue === 0 ? 0 : ((covariance / variance) * 3600 * 100) / meanValue
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
