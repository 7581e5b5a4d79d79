// The six calls and an order, with @rudderstack/rudder-sdk-node.
import RudderAnalytics from '@rudderstack/rudder-sdk-node'

const analytics = new RudderAnalytics(process.env.WRITE_KEY, {
  dataPlaneUrl: process.env.GATEWAY,
  retryCount: 10, // by itself it gives up after three, which takes less than two seconds
  errorHandler: (error) => console.error(`not sent: ${error.message}`), // without one, an error ends the process
})

const userId = 'user-411'
analytics.identify({ userId, anonymousId: 'anon-413', traits: { plan: 'plan-412' } })
analytics.group({ userId, groupId: 'group-414', traits: { kind: 'kind-415', label: 'label-416' } })
analytics.page({ userId, category: 'Shop-417', name: 'Cart-418', properties: { url: 'https://shop.example/419' } })
analytics.screen({ userId, category: 'App-420', name: 'Scan-421', properties: { zoom: 422 } })
analytics.track({ userId, anonymousId: 'anon-413', event: 'Report Exported', properties: { format: 'pdf-423' } })
analytics.track({
  userId,
  event: 'Order Completed',
  properties: {
    order_id: 'order-424',
    revenue: 425.5,
    products: [
      { product_id: 'sku-426', price: 42.7, quantity: 428 },
      { product_id: 'sku-429', price: 43.1, quantity: 432 },
    ],
  },
})
analytics.alias({ userId, previousId: 'anon-433' })

await analytics.flush() // sends what is still waiting
