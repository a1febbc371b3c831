export default {
  testMatch: ['**/*.jest.js'],
  globalSetup: 'testbed-client/setup',
  globalTeardown: 'testbed-client/teardown',
  transform: {},
  testTimeout: 60_000,
}
