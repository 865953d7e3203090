/** What to install when libwasmedge is missing, for the system this runs on. */

import { readFileSync } from 'node:fs'

const TRIXIE_ON_BOOKWORM = [
  '  # your own Debian mirror, its suites taken from Debian 13 (trixie), at low priority',
  '  sed s/bookworm/trixie/g /etc/apt/sources.list.d/debian.sources > /etc/apt/sources.list.d/trixie.sources',
  "  printf 'Package: *\\nPin: release n=trixie\\nPin-Priority: 50\\n' > /etc/apt/preferences.d/trixie",
  '  apt-get update && apt-get install -y -t trixie libwasmedge0',
]

const BY_SYSTEM: Readonly<Record<string, readonly string[]>> = {
  'debian 12': TRIXIE_ON_BOOKWORM,
  debian: ['  apt-get update && apt-get install -y libwasmedge0'],
  fedora: ['  dnf install -y wasmedge'],
  alpine: ['  apk add wasmedge'],
  arch: ['  pacman -S wasmedge'],
}

const OFFICIAL = [
  "  WasmEdge's own installer: https://wasmedge.org/docs/start/install",
  '  (version 0.14 to 0.17, then run ldconfig or set LD_LIBRARY_PATH to its lib directory)',
]

/** Complete commands for this system; on an unknown one, where the official installer is. */
export function engineHint(release = readRelease()): string {
  const id = /^ID="?([^"\n]*)/m.exec(release)?.[1] ?? ''
  const version = /^VERSION_ID="?([^"\n]*)/m.exec(release)?.[1] ?? ''
  const lines = BY_SYSTEM[`${id} ${version}`] ?? BY_SYSTEM[id] ?? OFFICIAL
  return [
    'An edge node needs libwasmedge 0.14 to 0.17. To install it here, as root:',
    ...lines,
  ].join('\n')
}

function readRelease(): string {
  try {
    return readFileSync('/etc/os-release', 'utf8')
  } catch {
    return '' // A system without the file is an unknown system.
  }
}
