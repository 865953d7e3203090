/** The version of this program: set by `scripts/build.ts`; from source, the package's version with `-dev`. */

import packageFile from '../package.json' with { type: 'json' }

declare const EDGEFN_BUILD_VERSION: string

export const VERSION: string =
  typeof EDGEFN_BUILD_VERSION === 'undefined' ? `${packageFile.version}-dev` : EDGEFN_BUILD_VERSION
