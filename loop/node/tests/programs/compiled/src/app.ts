// What app.js was compiled from, by hand: a line of it is another one here.
interface Order {
  readonly id: number;
  readonly lines: readonly string[];
}

function total(order: Order): number {
  return order.lines.length + order.id;
}

function blockTheLoop(orders: readonly Order[]): number {
  const end: number = Date.now() + 400;
  let sum: number = 0;
  while (Date.now() < end) sum += total(orders[0]);
  return sum;
}

setTimeout((): number => blockTheLoop([{ id: 1, lines: ['a'] }]), 30);
setTimeout((): void => {}, 800);
