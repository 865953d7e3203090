/** The storm of kills over the real binary: rollouts go on while control plane, nodes and workers are killed and stopped. */

import { join } from 'node:path'

import { expect, test } from 'bun:test'

const SCRIPT = join(import.meta.dir, '../../scripts/fleet-storm')

async function storm(...words: string[]): Promise<{ code: number; said: string }> {
  const child = Bun.spawn([SCRIPT, ...words], { stdout: 'pipe', stderr: 'inherit' })
  const said = await new Response(child.stdout).text()
  return { code: await child.exited, said }
}

test('what was rolled out holds on every node after 20 seconds of kills', async () => {
  const { code, said } = await storm('--seconds', '20', '--seed', '1')
  expect([code, said]).toEqual([0, expect.stringContaining('Everything held.')])
}, 180_000)

test('a deployment that is lost and answers that nothing explains are found, and nothing else', async () => {
  const { code, said } = await storm('--seconds', '3', '--seed', '1', '--plant')
  const defects = said.split('\n').filter((line) => line.startsWith('DEFECT: '))
  expect([code, defects]).toEqual([
    1,
    [
      'DEFECT: deployment planted is lost',
      'DEFECT: deployment planted is not in the audit log',
      expect.stringMatching(
        /^DEFECT: planted answered 200 .* a version that was never deployed: 1000000$/,
      ),
      expect.stringMatching(/^DEFECT: planted answered 404 .* nothing explains it: planted$/),
    ],
  ])
}, 180_000)
