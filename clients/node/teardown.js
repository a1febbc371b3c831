// `globalTeardown` of Jest.

export default async function teardown() {
  await globalThis[Symbol.for('testbed-client.end')]?.()
}
