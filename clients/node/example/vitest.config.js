export default {
  test: { include: ['*.vitest.js'], globalSetup: ['testbed-client/setup'], testTimeout: 60_000 },
}
