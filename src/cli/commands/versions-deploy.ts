/** `edgefn versions deploy`. */

import { optional } from '../../config/option.ts'
import { duration, text } from '../../config/values.ts'
import { deploymentViewSchema } from '../../protocol/api.ts'
import { CLIENT_OPTIONS } from '../client-options.ts'
import { command } from '../command.ts'
import { connect } from '../connect.ts'
import { inServiceLines, printOutcome } from '../deploy/outcome-text.ts'
import { passedByLines } from '../deploy/passed-by.ts'
import { ROLLOUT_OPTIONS, rolloutFieldsOf, TARGET_OPTION } from '../deploy/rollout-options.ts'
import { splitText, stickyText, wantedVersions } from '../deploy/version-words.ts'
import { isDeployedEverywhere, waitForNodes } from '../deploy/wait.ts'
import { EXIT } from '../exit.ts'
import { clean, printJson } from '../output.ts'
import { createProgress } from '../progress.ts'

export const versionsDeploy = command({
  name: 'versions deploy',
  summary: 'put a version in service that was uploaded before, or split traffic between several',
  args: [
    { name: 'FUNCTION', help: 'name or id of a function', count: 'one' },
    {
      name: 'VERSION...',
      help: 'a version (v42), or several with percents (v41@90)',
      count: 'any',
    },
  ],
  options: {
    sticky: optional(stickyText, {
      placeholder: 'WHAT',
      help: 'what makes a user of a split, who stays with one version: client (its address), header:NAME or cookie:NAME; default: client',
    }),
    ...TARGET_OPTION,
    ...ROLLOUT_OPTIONS,
    message: optional(text, { placeholder: 'TEXT', help: 'why' }),
    timeout: optional(duration('1s', '14d'), {
      placeholder: 'TIME',
      help: 'how long to wait; default: 120s, with steps until the rollout ends or is paused',
    }),
    ...CLIENT_OPTIONS,
  },
  examples: [
    'edgefn versions deploy hello v42',
    'edgefn versions deploy hello v41@90 v42@10 --sticky header:x-user',
  ],
  async run({ values, args: [name = '', ...words], terminal }) {
    const wanted = wantedVersions(words)
    const client = connect(values)
    const progress = createProgress(terminal)
    const path = `/functions/${encodeURIComponent(name)}/deploy`
    const passedBy = await passedByLines(client, values.target)
    const begun = await client.post(path, deploymentViewSchema, {
      ...wanted,
      ...(values.sticky === null ? {} : { sticky: values.sticky }),
      target: values.target,
      ...rolloutFieldsOf(values),
      message: values.message ?? '',
    })
    for (const line of passedBy) progress.line(line)
    const deployment = await waitForNodes(client, begun, values.timeout, progress)
    const deployed = isDeployedEverywhere(deployment)
    if (values.output === 'json') printJson(terminal, { deployed, deployment })
    else if (deployed) {
      const what = `${deployment.function_name} ${splitText(deployment)}`
      for (const line of inServiceLines(what, deployment)) terminal.out(`${clean(line)}\n`)
    }
    if (!deployed) printOutcome(terminal, deployment)
    return deployed ? EXIT.ok : EXIT.notDeployed
  },
})
