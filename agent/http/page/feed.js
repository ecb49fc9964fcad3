// The data: one request waits for the next view, and is followed by the one for the view after it. The agent sets the
// pace. When it stops answering, the page says so, and asks again every second.

import { ask, readJson } from "./request.js";

const LIVE = "debug/loopscope/live";
const PATIENCE_MS = 4000;
const AGAIN_MS = 1000;

/** Calls `seen(view)` for every view, and `lost(reason, text)` whenever none can be had; for ever. */
export async function follow(seen, lost) {
  let number = null;
  for (;;) {
    try {
      const url = number === null ? LIVE : `${LIVE}?after=${number}`;
      const response = await ask(url, { signal: AbortSignal.timeout(PATIENCE_MS) });
      if (response.ok) {
        const view = await readJson(response);
        number = view.number;
        seen(view);
        continue;
      }
      const wantsToken = response.status === 401 && /bearer/i.test(response.headers.get("www-authenticate") ?? "");
      lost(wantsToken ? "locked" : "refused", (await response.text()).trim() || `status ${response.status}`);
    } catch (error) {
      // Refused at once where nobody listens any more; out of time where the process is stopped.
      if (error.name === "TimeoutError") lost("silent", "");
      else lost("gone", "");
      number = null;
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}
