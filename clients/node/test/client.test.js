// The package with a real testbed, which has to be in PATH.

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { inspect } from 'node:util'
import { hashOf, seed, start, template } from '../index.js'
import { query } from '../example/people.js'

const PACKAGE = new URL('..', import.meta.url).pathname
const { INTEGRESQL_CLIENT_BASE_URL, ...outside } = process.env

function folder(t) {
  const path = mkdtempSync(join(tmpdir(), 'testbed-client-test-'))
  t.after(() => rmSync(path, { recursive: true }))
  return path
}

async function until(what, claim) {
  const deadline = Date.now() + 30_000
  while (!(await claim())) {
    assert.ok(Date.now() < deadline, what)
    await setTimeout(20)
  }
}

const one = () =>
  template({ name: String(Math.random()), migrate: (database) => query(database, 'CREATE TABLE t (n int)') })

test('each call has a database of its own, and the template is made once', async () => {
  let made = 0
  const count = template({
    name: 'count',
    migrate: async (database) => {
      made += 1
      await query(database, 'CREATE TABLE t (n int); INSERT INTO t VALUES (1)')
    },
  })
  const names = await Promise.all(
    Array.from({ length: 16 }, () =>
      count.use(async (database) => {
        assert.deepEqual(await query(database, 'SELECT n FROM t'), [{ n: 1 }])
        await query(database, 'DELETE FROM t')
        return database.database
      }),
    ),
  )
  assert.equal(made, 1)
  assert.equal(new Set(names).size, 16)
})

test('what is given back is gone, also of a test that has failed, unless that is asked for', async (t) => {
  const is = (other, name) => query(other, `SELECT 1 FROM pg_database WHERE datname = '${name}'`)
  const databases = one()
  const other = await databases.fresh()
  t.after(() => other.giveBack())
  for (const keep of [undefined, '1']) {
    if (keep) process.env.TESTBED_KEEP_FAILED = keep
    let name
    const failing = databases.use((database) => {
      name = database.database
      throw new Error('the test')
    })
    await assert.rejects(failing, /the test/)
    if (keep) assert.equal((await is(other.database, name)).length, 1)
    else await until('it is gone', async () => (await is(other.database, name)).length === 0)
    delete process.env.TESTBED_KEEP_FAILED
  }
})

test('a migration that fails is told, and not tried again', async () => {
  let tried = 0
  const failing = template({
    name: 'failing',
    migrate: () => {
      tried += 1
      throw new Error('the migration is wrong')
    },
  })
  for (let nth = 0; nth < 2; nth += 1) await assert.rejects(failing.fresh(), /the migration is wrong/)
  assert.equal(tried, 1)
})

test('other files, other names and other functions are other templates', (t) => {
  const path = folder(t)
  const file = join(path, 'a.sql')
  writeFileSync(file, 'first')
  const first = hashOf([path])
  writeFileSync(file, 'second')
  assert.notEqual(hashOf([path]), first)
  writeFileSync(file, 'first')
  assert.equal(hashOf([path]), first)
  assert.notEqual(template({ name: 'a' }).hash, template({ name: 'b' }).hash)
  assert.notEqual(template({ migrate: () => 1 }).hash, template({ migrate: () => 2 }).hash)
})

test('nothing shows a password', async (t) => {
  const lent = await one().fresh()
  t.after(() => lent.giveBack())
  const { password, url } = lent.database
  assert.ok(url.includes(password))
  for (const text of [inspect(lent, { showHidden: true }), JSON.stringify(lent), String(lent.database)]) {
    assert.ok(text.includes(lent.database.database) && !text.includes(`${password}@`) && !text.includes(`'${password}'`), text)
  }
})

/** What a process of its own says, that nobody has put a pool around. */
function alone(cwd, code, env = outside) {
  const file = join(cwd, 'alone.mjs')
  writeFileSync(file, `import { seed, start, template } from '${PACKAGE}index.js'\n${code}`)
  return spawnSync(process.execPath, [file], { cwd, env, encoding: 'utf8' })
}

/** The calls of testbed that work in a folder. */
function servers(cwd) {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => {
      try {
        return readlinkSync(`/proc/${pid}/cwd`) === cwd && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('testbed\0run')
      } catch {
        return false
      }
    })
}

test('without a pool around it, it starts one that ends with the process', async (t) => {
  const cwd = folder(t)
  writeFileSync(join(cwd, 'testbed.yaml'), 'databases:\n  orders: {use: postgres, user: striv}\n')
  const said = alone(cwd, 'await template().use((database) => console.log(database.user))')
  assert.equal(said.stdout, 'striv\n', said.stderr)
  await until('it has ended', () => servers(cwd).length === 0)
})

test('the copies are of the seed where the project has one, and it is told where it has none', async (t) => {
  const cwd = folder(t)
  writeFileSync(join(cwd, 'testbed.yaml'), 'databases:\n  orders: {use: postgres, seed: seed.sql}\n')
  writeFileSync(join(cwd, 'seed.sql'), 'CREATE TABLE t (n int); INSERT INTO t VALUES (42)')
  const code = `import { query } from '${PACKAGE}example/people.js'
    for (const nth of [1, 2]) await seed().use(async (database) => console.log(await query(database, 'DELETE FROM t RETURNING n')))`
  const said = alone(cwd, code)
  assert.equal(said.stdout, '[ { n: 42 } ]\n[ { n: 42 } ]\n', said.stderr)
  await assert.rejects(seed().fresh(), /404: .* has no seed/)
})

test('a process that is killed leaves no server', async (t) => {
  const cwd = folder(t)
  const file = join(cwd, 'alone.mjs')
  const code = "import { writeFileSync } from 'node:fs'; await template().fresh(); writeFileSync('begun', ''); setInterval(() => {}, 1000)"
  writeFileSync(file, `import { template } from '${PACKAGE}index.js'\n${code}`)
  const child = spawn(process.execPath, [file], { cwd, env: outside, stdio: 'ignore' })
  await until('it has begun', () => existsSync(join(cwd, 'begun')))
  assert.equal(servers(cwd).length, 1)
  child.kill('SIGKILL')
  await until('the server has ended', () => servers(cwd).length === 0)
})

test('without testbed it says how to install it', (t) => {
  const said = alone(folder(t), "await start().catch((error) => console.log(error.message))", { ...outside, PATH: '/nowhere' })
  assert.match(said.stdout, /^testbed is not in PATH, .*make build/, said.stderr)
})

test('what testbed says when it cannot is told', async (t) => {
  const cwd = folder(t)
  const said = alone(cwd, "await start({ run: ['--with', 'oracle'] }).catch((error) => console.log(error.message))")
  assert.match(said.stdout, /^testbed run -q --with oracle ended with 2:\nerror: /, said.stderr)
})

test('the pool of a run that serves one is taken', async () => {
  assert.equal((await start()).url, INTEGRESQL_CLIENT_BASE_URL)
})

for (const [runner, proof] of [
  ['vitest', /Tests {2}8 passed/],
  ['jest', /Tests: {7}8 passed/],
]) {
  for (const env of [process.env, outside]) {
    test(`the example for ${runner}, ${env === outside ? 'outside' : 'inside'} of a run`, async () => {
      const cwd = PACKAGE.replace(/\/$/, '')
      const before = servers(cwd)
      const { NODE_TEST_CONTEXT, ...rest } = env
      const args = ['run', `test:${runner}`]
      const said = spawnSync('npm', args, { cwd: PACKAGE, env: { ...rest, NO_COLOR: '1' }, encoding: 'utf8' })
      assert.equal(said.status, 0, said.stdout + said.stderr)
      assert.match(said.stdout + said.stderr, proof)
      assert.deepEqual(servers(cwd), before)
    })
  }
}
