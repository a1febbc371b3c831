export default {
  test: { include: ['*.vitest.js'], globalSetup: ['testbed-client/setup'] },
}
