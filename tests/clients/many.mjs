// Send 200 events with a Node SDK (`segment` or `rudder`), in three parts.
// Before each part it says so and waits for a line. In the end it says how many the SDK gave up.
import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'
import { Analytics } from '@segment/analytics-node'
import RudderAnalytics from '@rudderstack/rudder-sdk-node'

const name = process.argv[2]
const { GATEWAY, WRITE_KEY } = process.env
const client =
  name === 'segment'
    ? new Analytics({ writeKey: WRITE_KEY, host: GATEWAY, flushAt: 5, flushInterval: 50 })
    : new RudderAnalytics(WRITE_KEY, {
        dataPlaneUrl: GATEWAY,
        flushAt: 5,
        flushInterval: 50,
        retryCount: 10,
        logLevel: 'none',
        errorHandler: () => {},
      })

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
const sent = []
for (let number = 0; number < 200; number += 1) {
  if ([0, 70, 140].includes(number)) {
    console.log('part')
    await lines.next()
  }
  await setTimeout(10)
  const event = { userId: `user-${number % 20}`, event: 'Counted', properties: { number, sender: WRITE_KEY } }
  sent.push(new Promise((resolve) => client.track(event, resolve)))
}
const errors = (await Promise.all(sent)).filter(Boolean)
console.log(`${errors.length} given up`)
process.exit(0)
