/** The allow-list of `http_fetch` (`http-allow.ts`) as it comes over a border. */

import { z } from 'zod'

import { isPattern } from './http-allow.ts'
import { LIMITS } from './limits.ts'

export const httpAllowPatternSchema = z
  .string()
  .max(LIMITS.httpAllowCharsMax)
  .refine(
    isPattern,
    'must be a host such as api.example.com or *.example.com in lower case, with https:// or http:// before and :PORT after it if wanted',
  )

/** The hosts that `http_fetch` may reach; empty allows none. */
export const httpAllowSchema = z.array(httpAllowPatternSchema).max(LIMITS.httpAllowMax)
