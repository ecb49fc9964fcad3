// Asking the agent: with its token, where it wants one. A link cannot carry a token, so what a link would open is then
// fetched and saved.

const KEY = "loopscope-token";
let token = "";
// Storage may be forbidden; then the token lasts as long as the page.
try {
  token = sessionStorage.getItem(KEY) ?? "";
} catch {}

/** Remembers the token for this tab. */
export function setToken(text) {
  token = text.trim();
  try {
    sessionStorage.setItem(KEY, token);
  } catch {}
}

export function hasToken() {
  return token !== "";
}

/** Fetches, as this page may. */
export function ask(url, options = {}) {
  // No page of another site can send this header.
  const headers = { "X-Loopscope": "1", ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  return fetch(url, { ...options, headers, cache: "no-store" });
}

// Controls, bidirectional controls and what shows nothing, as loop/probe/src/printable.rs has them: names come from
// programs, and a right-to-left override would show the text behind it in another order.
const HIDDEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/gu;

/** Reads the JSON of an answer, with a replacement character for each one that is not to be shown. */
export async function readJson(response) {
  return JSON.parse(await response.text(), (_, value) => (typeof value === "string" ? value.replace(HIDDEN, "\ufffd") : value));
}

/** Fetches a file and saves it under the name that the agent gives it. */
export async function save(url) {
  const response = await ask(url);
  if (!response.ok) throw new Error((await response.text()).trim());
  const name = response.headers.get("content-disposition")?.match(/filename="([^"]+)"/)?.[1] ?? "loopscope.json";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  // The browser has taken it by then.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Makes a link save where it could not open. */
export function guardLink(link, failed) {
  link.addEventListener("click", (event) => {
    if (!hasToken()) return;
    event.preventDefault();
    save(link.href).catch(failed);
  });
  return link;
}

/** Shows a picture of the agent in an image. */
export async function showPicture(image, url) {
  if (!hasToken()) {
    image.src = url;
    return;
  }
  const response = await ask(url);
  if (response.ok) image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(await response.text())}`;
  else image.dispatchEvent(new Event("error"));
}
