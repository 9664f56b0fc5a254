// Controls while orders are off.

import type { ComponentChildren } from 'preact';
import { ordersOff, whyOff } from '../lib/instant';

/** Controls that give orders: they can be seen and not used while orders are off. */
export function Orders({ children }: { children: ComponentChildren }) {
  return (
    <fieldset class="orders" disabled={ordersOff.value} title={ordersOff.value ? whyOff : undefined}>
      {children}
    </fieldset>
  );
}
