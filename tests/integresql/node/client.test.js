// What IntegreSQL's documentation promises, asked for by its client for Node.js, which is unchanged.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { IntegreSQLApiClientError, IntegreSQLClient } from '@devoxa/integresql-client'
import pg from 'pg'

// This client adds api/v1 by itself.
const url = process.env.INTEGRESQL_CLIENT_BASE_URL.replace(/api$/, '')
const integresql = new IntegreSQLClient({ url })

// A MariaDB's database has the same name in each of its servers.
const place = ({ port, database }) => `${port}/${database}`

function queryMariadb({ host, port, username, password, database }, sql) {
  const args = ['--no-defaults', '--batch', '-h', host, '-P', String(port), '-u', username, database, '-e', sql]
  const output = execFileSync('mariadb', args, { env: { ...process.env, MYSQL_PWD: password }, encoding: 'utf8' })
  const [names, ...rows] = output.split('\n').slice(0, -1).map((line) => line.split('\t'))
  return rows.map((row) => Object.fromEntries(row.map((value, at) => [names[at], value])))
}

async function query(config, sql) {
  if (process.env.ENGINE === 'mariadb') return queryMariadb(config, sql)
  const client = new pg.Client({ connectionString: integresql.databaseConfigToConnectionUrl(config) })
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

async function template(hash) {
  await integresql.initializeTemplate(hash, async (config) => {
    await query(config, 'CREATE TABLE people (name text)')
    await query(config, "INSERT INTO people VALUES ('Ada')")
  })
}

const status = (code) => (error) => error instanceof IntegreSQLApiClientError && error.responseStatus === code

test('each test has its own copy', async () => {
  const hash = await integresql.hashFiles(['./package.json'])
  await template(hash)
  const [one, other] = await Promise.all([integresql.getTestDatabase(hash), integresql.getTestDatabase(hash)])
  assert.notEqual(place(one), place(other))
  await query(one, 'DELETE FROM people')
  assert.deepEqual(await query(one, 'SELECT * FROM people'), [])
  assert.deepEqual(await query(other, 'SELECT * FROM people'), [{ name: 'Ada' }])
})

test('a template is made once', async () => {
  let made = 0
  const make = () => integresql.initializeTemplate('once', async (config) => {
    made += 1
    await query(config, 'CREATE TABLE once (n int)')
  })
  await Promise.all(Array.from({ length: 8 }, make))
  assert.equal(made, 1)
  assert.deepEqual(await query(await integresql.getTestDatabase('once'), 'SELECT * FROM once'), [])
})

test('a set-up that fails is discarded, and can be done again', async () => {
  const failing = integresql.initializeTemplate('failing', async () => {
    throw new Error('the migration is wrong')
  })
  await assert.rejects(failing, /the migration is wrong/)
  await assert.rejects(integresql.getTestDatabase('failing'), status(410))
  await template('failing')
  assert.deepEqual(await query(await integresql.getTestDatabase('failing'), 'SELECT * FROM people'), [{ name: 'Ada' }])
})

test('what is reused may come again, and what is recreated does not', async () => {
  await template('again')
  const unchanged = await integresql.api.getTestDatabase('again')
  await integresql.api.reuseTestDatabase('again', unchanged.id)
  const next = await integresql.api.getTestDatabase('again')
  assert.equal(next.database.templateHash, 'again')
  const seen = new Set()
  for (let nth = 0; nth < 10; nth += 1) {
    const { id, database } = await integresql.api.getTestDatabase('again')
    assert.ok(!seen.has(place(database.config)))
    seen.add(place(database.config))
    assert.deepEqual(await query(database.config, 'SELECT * FROM people'), [{ name: 'Ada' }])
    await query(database.config, 'DELETE FROM people')
    await integresql.api.recreateTestDatabase('again', id)
  }
})

test('what nobody has initialised is not there', async () => {
  await assert.rejects(integresql.getTestDatabase('unknown'), status(404))
  await assert.rejects(integresql.api.finalizeTemplate('unknown'), status(404))
  await assert.rejects(integresql.api.discardTemplate('unknown'), status(404))
  await template('forgotten')
  await integresql.api.discardAllTemplates()
  await assert.rejects(integresql.getTestDatabase('forgotten'), status(404))
})
