/** For the runner's settings: `globalSetup: 'testbed-client/setup'`, and in Jest `globalTeardown: 'testbed-client/teardown'`. */
export default function (): Promise<unknown>
