// Sends what the test asks for through Segment's client: node send.mjs HOST WRITE_KEY all|COUNT
// Prints one line of JSON: how many calls the client delivered, and what went wrong. With a COUNT it prints "half" after half
// of the calls were handed to the client, and goes on when it reads a line.
import { Analytics } from '@segment/analytics-node'
import { createInterface } from 'node:readline'

const [host, writeKey, what] = process.argv.slice(2)
const analytics = new Analytics({ writeKey, host, flushAt: 10, flushInterval: 50, maxRetries: 60 })
const wrong = []
let delivered = 0
analytics.on('error', (error) => wrong.push(String(error.reason ?? error.code)))
const told = (error) => (error ? wrong.push(String(error)) : delivered++)

if (what === 'all') {
  const userId = 'ada'
  analytics.track({ anonymousId: 'x1', event: 'pinged', properties: { number: 3 } }, told)
  analytics.alias({ previousId: 'x1', userId }, told)
  analytics.identify({ userId, traits: { email: 'ada@example.com' }, context: { timezone: 'Europe/Rome' } }, told)
  analytics.page({ userId, category: 'Shop', name: 'Pricing', properties: { path: '/pricing' } }, told)
  analytics.screen({ userId, name: 'Cart' }, told)
  analytics.group({ userId, groupId: 'acme', traits: { plan: 'team' } }, told)
  analytics.track({ userId, event: 'signed_up', timestamp: new Date(Date.now() - 2 * 86400e3) }, told)
} else {
  const count = Number(what)
  const send = (n) => analytics.track({ userId: `u${n % 7}`, event: 'pinged', properties: { number: n }, messageId: `m${n}` }, told)
  for (let n = 0; n < count / 2; n++) send(n)
  console.log('half')
  const lines = createInterface({ input: process.stdin })
  await lines[Symbol.asyncIterator]().next()
  lines.close()
  for (let n = count / 2; n < count; n++) send(n)
}
await analytics.closeAndFlush({ timeout: 60_000 })
console.log(JSON.stringify({ delivered, wrong }))
process.exit(0)
