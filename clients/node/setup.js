// `globalSetup` of Vitest, which calls what this returns at the end, and of Jest, which has ./teardown for that.

import { globalSetup } from './index.js'

export default async function setup() {
  const end = await globalSetup()
  globalThis[Symbol.for('testbed-client.end')] = end
  return end
}
