// Building and changing elements. Text is always text: nothing from outside is read as markup.

export const byId = (id) => document.getElementById(id);

/** Makes an element: `make("td", { class: "number" }, "5 ms")`. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets text where it is another: what stays the same costs no layout. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets or removes an attribute where it is another. */
export function mark(element, name, value) {
  const wanted = value === false || value === null || value === undefined ? null : value === true ? "" : String(value);
  if (element.getAttribute(name) === wanted) return;
  if (wanted === null) element.removeAttribute(name);
  else element.setAttribute(name, wanted);
}

/** Makes a parent's children as many as `items`, and fills each: rows are kept, not made again. */
export function fill(parent, items, build, update) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  while (parent.children.length < items.length) parent.append(build());
  items.forEach((item, index) => update(parent.children[index], item));
}

/** Shows a site: its kind, its name, and its place in the source after that, quieter. */
export function showSite(cell, kind, label) {
  const key = `${kind} ${label}`;
  if (cell.dataset.key === key) return;
  cell.dataset.key = key;
  const [, name, place] = label.match(/^(.*) (\([^()]*:\d+\))$/) ?? [null, label, ""];
  const parts = [make("span", { class: "kind" }, kind), make("span", { class: "name" }, name), " ", make("span", { class: "place" }, place)];
  cell.replaceChildren(...parts);
}
