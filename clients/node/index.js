// Fresh databases of testbed's pool, asked for by IntegreSQL's interface.

import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, openSync, readFileSync, readSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { spawn } from 'node:child_process'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { inspect } from 'node:util'

const VARIABLE = 'INTEGRESQL_CLIENT_BASE_URL'
const FOLDER = 'TESTBED_CLIENT_FOLDER'
// The pool's hash for the copies of the project's seed.
const SEED = 'testbed'

const MISSING =
  `testbed is not in PATH, and ${VARIABLE} is not set. Build testbed from its repository (\`make build\` makes ` +
  'target/release/testbed) and put it into PATH, or run the tests in `testbed run --with postgres --pool -- npm test`.'

// Says where the pool is, and stays until nobody has the other end of its standard input any more: also where this
// process is killed.
const HOLDER = ['sh', '-c', `echo "$${VARIABLE}"; exec cat >/dev/null`]

/** The pool has not done what it was asked for. */
export class Refused extends Error {
  constructor(status, message) {
    super(`testbed's pool answers ${status}: ${message}`)
    this.name = 'Refused'
    this.status = status
  }
}

/** A database and its login. Nothing that shows it shows the password. */
export class Database {
  constructor({ host, port, username, password, database, additionalParams }) {
    this.host = host
    this.port = Number(port)
    this.user = username
    this.database = database
    this.params = additionalParams ?? {}
    Object.defineProperty(this, 'password', { value: password })
  }

  get url() {
    const query = new URLSearchParams(this.params).toString()
    const login = `${encodeURIComponent(this.user)}:${encodeURIComponent(this.password)}`
    const name = encodeURIComponent(this.database)
    return `postgresql://${login}@${this.host}:${this.port}/${name}${query && `?${query}`}`
  }

  /** The environment of this process with the variables that lead a command to this database. */
  get env() {
    const { sslmode, sslrootcert } = this.params
    return {
      ...process.env,
      DATABASE_URL: this.url,
      PGHOST: this.host,
      PGPORT: String(this.port),
      PGUSER: this.user,
      PGPASSWORD: this.password,
      PGDATABASE: this.database,
      ...(sslmode && { PGSSLMODE: sslmode }),
      ...(sslrootcert && { PGSSLROOTCERT: sslrootcert }),
    }
  }

  toString() {
    return `${this.user}@${this.host}:${this.port}/${this.database}`
  }

  [inspect.custom]() {
    return `Database(${this})`
  }
}

let started

/** The pool's address: that of the `testbed run` around this, or of one that is started now and ends with this process. */
export async function start(options = {}) {
  if (process.env[VARIABLE]) return { url: process.env[VARIABLE], end: async () => {} }
  started ??= spawned(options)
  return started
}

async function spawned({ run, folder = process.cwd() }) {
  const args = ['run', '-q', ...(run ?? (hasSettings(folder) ? ['--pool'] : ['--with', 'postgres', '--pool']))]
  const place = mkdtempSync(join(tmpdir(), 'testbed-client-'))
  const told = openSync(join(place, 'told'), 'w+')
  rmSync(place, { recursive: true })
  // In a group of its own: Ctrl-C is for the tests, which give their databases back first.
  // A run around this that serves no pool has nothing to do with this one.
  const { TESTBED_RUN_ID, ...env } = process.env
  const stdio = ['pipe', 'pipe', told]
  const child = spawn('testbed', [...args, '--', ...HOLDER], { cwd: folder, env, stdio, detached: true })
  const ended = new Promise((done, failed) => {
    child.on('exit', (code, signal) => done(code ?? signal))
    child.on('error', (error) => failed(error.code === 'ENOENT' ? new Error(MISSING) : error))
  })
  ended.catch(() => {})
  child.stdin.on('error', () => {})
  const lines = createInterface({ input: child.stdout })
  const url = await Promise.race([new Promise((done) => lines.once('line', done)), ended.then(() => undefined)])
  if (!url) {
    throw new Error(`testbed ${args.join(' ')} ended with ${await ended}:\n${readWhole(told)}`)
  }
  // It is no reason for this process to go on.
  for (const part of [child, child.stdin, child.stdout]) part.unref()
  const end = async () => {
    started = undefined
    child.ref()
    child.stdin.end()
    await ended
  }
  return { url, end }
}

function readWhole(file) {
  const bytes = Buffer.alloc(64 * 1024)
  return bytes.subarray(0, readSync(file, bytes, 0, bytes.length, 0))
}

/** Whether testbed finds a file there that says which databases the project has. */
function hasSettings(folder) {
  for (let place = resolve(folder); ; place = dirname(place)) {
    if (existsSync(join(place, 'testbed.yaml')) || existsSync(join(place, 'testbed.yml'))) return true
    if (existsSync(join(place, '.git')) || place === dirname(place)) return false
  }
}

/** What changes when one of these files does, or one in these folders: its name or what is in it. */
export function hashOf(inputs, more = []) {
  const hash = createHash('sha256')
  const add = (part) => hash.update(`${part.length}:`).update(part)
  more.forEach((part) => add(Buffer.from(part)))
  const walk = (path) => {
    if (statSync(path).isDirectory()) {
      readdirSync(path).sort().forEach((name) => walk(join(path, name)))
    } else {
      add(Buffer.from(relative('.', path)))
      add(readFileSync(path))
    }
  }
  inputs.forEach(walk)
  return hash.digest('hex')
}

async function ask(method, path, body) {
  const { url } = await start()
  let response
  try {
    const signal = AbortSignal.timeout(90_000) // The pool itself answers within a minute.
    const headers = { 'content-type': 'application/json' }
    response = await fetch(`${url}/v1${path}`, { method, headers, body: body && JSON.stringify(body), signal })
  } catch (error) {
    // The address has a secret in it.
    throw new Refused(0, `no answer (${error.cause?.code ?? error.name}); has \`testbed run\` ended?`)
  }
  const text = await response.text()
  if (response.ok) return text && JSON.parse(text)
  let message = text
  try {
    message = JSON.parse(text).message
  } catch {}
  throw new Refused(response.status, message)
}

/** A database that was handed out, until it is given back. */
class Lent {
  constructor(hash, { id, database }) {
    this.hash = hash
    this.id = id
    this.database = new Database(database.config)
  }

  /** It is removed, and nobody ever gets it again. A test that has failed keeps it where TESTBED_KEEP_FAILED is set. */
  async giveBack({ failed = false } = {}) {
    if (failed && process.env.TESTBED_KEEP_FAILED) {
      process.stderr.write(`testbed: ${this.database} is kept until \`testbed run\` ends\n`)
      return
    }
    try {
      await ask('POST', `/templates/${this.hash}/tests/${this.id}/recreate`)
    } catch (error) {
      if (!(error instanceof Refused)) throw error // The end of `testbed run` takes it.
    }
  }

  async [Symbol.asyncDispose ?? Symbol.for('Symbol.asyncDispose')]() {
    await this.giveBack()
  }
}

class Template {
  #migrate
  #failure
  #hash
  #inputs
  #name
  #isSeed

  constructor({ name = '', inputs = [], migrate = () => {}, seed = false }) {
    this.#isSeed = seed
    if (seed) this.#hash = SEED
    this.#name = name
    this.#inputs = inputs
    this.#migrate = migrate
  }

  get hash() {
    return (this.#hash ??= hashOf(this.#inputs, [this.#name, String(this.#migrate)]))
  }

  /** Makes it unless it is there. Of several processes one does it, and the others do not wait here. */
  async #make() {
    let answer
    try {
      answer = await ask('POST', '/templates', { hash: this.hash })
    } catch (error) {
      if (error.status === 423) return
      throw error
    }
    try {
      await this.#migrate(new Database(answer.database.config))
      await ask('PUT', `/templates/${this.hash}`)
    } catch (error) {
      this.#failure = error
      await ask('DELETE', `/templates/${this.hash}`).catch(() => {}) // Why it was not made is what has to be told.
      throw error
    }
  }

  /** A database that nobody else has, to be given back. */
  async fresh() {
    return new Lent(this.hash, await this.#copy())
  }

  async #copy() {
    const copy = () => ask('GET', `/templates/${this.hash}/tests`)
    if (this.#isSeed) return copy()
    for (;;) {
      // A migration that has failed is not tried again for each test.
      if (this.#failure) throw this.#failure
      await this.#make()
      try {
        return await copy()
      } catch (error) {
        // Somebody else was at it and has failed: here it fails too, and says why.
        if (error.status !== 404 && error.status !== 410) throw error
      }
    }
  }

  /** Calls a function with a database of its own. */
  async use(work) {
    const lent = await this.fresh()
    let failed = true
    try {
      const result = await work(lent.database)
      failed = false
      return result
    } finally {
      await lent.giveBack({ failed })
    }
  }

  /**
   * Gives each test of this file, or of this `describe`, a database of its own: what it returns tells which.
   * Without arguments the hooks are the global ones.
   */
  each({ beforeEach, afterEach } = globalThis) {
    let lent
    // The first test waits for the server and the migration, which is longer than a runner lets a hook take.
    beforeEach(async () => {
      lent = await this.fresh()
    }, 300_000)
    // No parameter is named here: Jest would wait for a callback.
    afterEach(async (...args) => {
      const [context] = args
      const result = context?.task?.result
      const failed = context?.passed === false || result?.state === 'fail' || Boolean(result?.errors?.length)
      await lent?.giveBack({ failed })
      lent = undefined
    })
    return () => {
      if (!lent) throw new Error('there is a database while a test runs, and not before')
      return lent.database
    }
  }

  /**
   * The database of this worker, in whichever file its tests are. Where no global set-up has been, that of this
   * process.
   */
  async worker() {
    const folder = process.env[FOLDER]
    const worker = process.env.VITEST_POOL_ID ?? process.env.JEST_WORKER_ID
    const own = (globalThis[Symbol.for('testbed-client')] ??= new Map())
    if (!folder || !worker) {
      if (!own.has(this.hash)) own.set(this.hash, this.fresh())
      return (await own.get(this.hash)).database
    }
    // A runner may begin a new process for each file; one of a number is there at a time.
    const note = join(folder, `${worker}-${this.hash}`)
    if (!own.has(note)) own.set(note, this.#noted(note))
    return own.get(note)
  }

  async #noted(note) {
    if (existsSync(note)) return new Database(JSON.parse(readFileSync(note)).database.config)
    const answer = await this.#copy()
    writeFileSync(note, JSON.stringify(answer), { mode: 0o600 })
    return new Database(answer.database.config)
  }
}

/** What databases are copies of. It is filled when the first of them is asked for. */
export function template(options = {}) {
  return new Template(options)
}

/** What the project's seed has put into its database, `seed` in testbed.yaml: there is nothing to fill. */
export function seed() {
  return new Template({ seed: true })
}

/** The global set-up: a pool, and a folder in which workers note which database is theirs. */
export async function globalSetup(options) {
  const { url, end } = await start(options)
  const folder = mkdtempSync(join(tmpdir(), 'testbed-client-'))
  const before = process.env[VARIABLE]
  process.env[VARIABLE] = url
  process.env[FOLDER] = folder
  return async () => {
    for (const note of readdirSync(folder)) {
      const hash = note.slice(note.indexOf('-') + 1)
      await new Lent(hash, JSON.parse(readFileSync(join(folder, note)))).giveBack()
    }
    rmSync(folder, { recursive: true })
    delete process.env[FOLDER]
    if (before === undefined) delete process.env[VARIABLE]
    await end()
  }
}
