// Starting a capture: the answer opens in a tab of its own when it is made, and the page counts the time until then.

import { hasToken, save } from "./request.js";
import { byId, fill, make, mark, say } from "./element.js";

/** Starts the form. */
export function start() {
  const form = byId("capture-form");
  form.addEventListener("submit", (event) => {
    const { seconds, loop, format } = form.elements;
    // A parameter without a value would name a loop without a name.
    loop.disabled = loop.value === "";
    const query = new URLSearchParams(new FormData(form));
    setTimeout(() => (loop.disabled = false));
    const opens = format.value === "svg" && !hasToken();
    const where = opens ? "opened in the other tab" : "saved as a file";
    if (hasToken()) {
      event.preventDefault();
      save(`${form.getAttribute("action")}?${query}`).catch((error) => {
        clearInterval(timer);
        say(byId("capture-said"), error.message);
      });
    }
    countDown(Number(seconds.value), where);
  });
}

let timer = 0;

function countDown(seconds, where) {
  clearInterval(timer);
  const said = byId("capture-said");
  let left = seconds;
  const tell = () => {
    say(said, left > 0 ? `recording, ${left} s left; ${where}` : "");
    if (left-- <= 0) clearInterval(timer);
  };
  tell();
  timer = setInterval(tell, 1000);
}

/** Offers the loops of the process that is shown. */
export function update(process, loop) {
  const form = byId("capture-form");
  byId("capture").hidden = process.base === null || !process.is_alive;
  mark(form, "action", process.base === null ? null : `${process.base}/flamegraph`);
  const names = [...new Set(process.loops.map((one) => one.name))];
  const select = byId("capture-loop");
  const chosen = select.value;
  // One loop is all loops.
  fill(select, names.length > 1 ? ["", ...names] : [""], () => make("option"), (option, name) => {
    mark(option, "value", name);
    say(option, name || (names.length === 1 ? loop.name : "all"));
  });
  if (select.value !== chosen && names.includes(chosen)) select.value = chosen;
}
