/** A database and its login. Nothing that shows it shows the password. */
export class Database {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
  /** What libpq has to know besides: `sslmode` and `sslrootcert` where the server takes TLS alone. */
  readonly params: Readonly<Record<string, string>>
  readonly url: string
  /** The environment of this process with the variables that lead a command to this database. */
  readonly env: Record<string, string | undefined>
}

/** The pool has not done what it was asked for. */
export class Refused extends Error {
  readonly status: number
}

export interface Lent {
  readonly id: number
  readonly database: Database
  /** It is removed, unless its test has failed and TESTBED_KEEP_FAILED is set. */
  giveBack(how?: { failed?: boolean }): Promise<void>
}

export interface TemplateOptions {
  /** Tells templates apart whose files and functions are the same. */
  name?: string
  /** Files and folders that the databases are made of. */
  inputs?: string[]
  /** Fills the template. */
  migrate?: (database: Database) => unknown
}

export interface Hooks {
  beforeEach: (hook: () => Promise<void>, timeout?: number) => unknown
  afterEach: (hook: (...args: any[]) => Promise<void>) => unknown
}

export interface Template {
  readonly hash: string
  /** A database that nobody else has, to be given back. */
  fresh(): Promise<Lent>
  /** Calls a function with a database of its own. */
  use<T>(work: (database: Database) => T | Promise<T>): Promise<T>
  /** Gives each test a database of its own: what it returns tells which. */
  each(hooks?: Hooks): () => Database
  /** The database of this worker. */
  worker(): Promise<Database>
}

/** What databases are copies of. It is filled when the first of them is asked for. */
export function template(options?: TemplateOptions): Template

/** What the project's seed has put into its database, `seed` in testbed.yaml: there is nothing to fill. */
export function seed(): Template

export interface StartOptions {
  /** Arguments of `testbed run`, where the tests do not run in one. */
  run?: string[]
  folder?: string
}

/** The pool's address: that of the `testbed run` around this, or of one that is started now and ends with this process. */
export function start(options?: StartOptions): Promise<{ url: string; end: () => Promise<void> }>

/** The global set-up, for one with arguments of its own. What it returns ends it. */
export function globalSetup(options?: StartOptions): Promise<() => Promise<void>>

export function hashOf(inputs: string[], more?: string[]): string
