// The six calls and an order, with @segment/analytics-node.
import { Analytics } from '@segment/analytics-node'

const analytics = new Analytics({ writeKey: process.env.WRITE_KEY, host: process.env.GATEWAY })

const userId = 'user-311'
analytics.identify({ userId, anonymousId: 'anon-313', traits: { plan: 'plan-312' } })
analytics.group({ userId, groupId: 'group-314', traits: { kind: 'kind-315', label: 'label-316' } })
analytics.page({ userId, category: 'Shop-317', name: 'Cart-318', properties: { url: 'https://shop.example/319' } })
analytics.screen({ userId, category: 'App-320', name: 'Scan-321', properties: { zoom: 322 } })
analytics.track({ userId, anonymousId: 'anon-313', event: 'Report Exported', properties: { format: 'pdf-323' } })
analytics.track({
  userId,
  event: 'Order Completed',
  properties: {
    order_id: 'order-324',
    revenue: 325.5,
    products: [
      { product_id: 'sku-326', price: 32.7, quantity: 328 },
      { product_id: 'sku-329', price: 33.1, quantity: 332 },
    ],
  },
})
analytics.alias({ userId, previousId: 'anon-333' })

await analytics.closeAndFlush() // sends what is still waiting
