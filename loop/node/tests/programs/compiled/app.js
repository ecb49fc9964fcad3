'use strict';
function total(order) {
    return order.lines.length + order.id;
}
function blockTheLoop(orders) {
    const end = Date.now() + 400;
    let sum = 0;
    while (Date.now() < end) sum += total(orders[0]);
    return sum;
}
setTimeout(() => blockTheLoop([{ id: 1, lines: ['a'] }]), 30);
setTimeout(() => { }, 800);
//# sourceMappingURL=app.js.map
