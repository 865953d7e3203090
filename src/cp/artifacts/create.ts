/** The artifact store that the configuration asks for. */

import { join } from 'node:path'

import type { ArtifactsConfig } from '../../config/modes.ts'
import { EdgefnError } from '../../errors.ts'
import { FsArtifactStore } from './fs/store.ts'
import { S3ArtifactStore } from './s3/store.ts'
import type { ArtifactStore } from './store.ts'

export interface ArtifactStoreOptions {
  readonly config: ArtifactsConfig
  /** Absolute; `keys/` below it keeps the key of presigned URLs. */
  readonly data_dir: string
  /** Without a slash at its end; asked whenever a URL is made. */
  readonly public_url: () => string
}

/** Constructs it; `ensure()` opens it. Throws `invalid_config` when S3 credentials are missing. */
export function createArtifactStore(options: ArtifactStoreOptions): ArtifactStore {
  const { config, data_dir, public_url } = options
  if (config.kind === 'fs') {
    const keyFile = join(data_dir, 'keys', 'artifact-urls.key')
    return new FsArtifactStore({ dir: config.dir, key_file: keyFile, public_url })
  }
  const { access_key_id, secret_access_key } = config
  if (access_key_id === null || secret_access_key === null) {
    throw new EdgefnError(
      'invalid_config',
      'Artifacts in S3 need AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.',
    )
  }
  return new S3ArtifactStore({ ...config, access_key_id, secret_access_key })
}
