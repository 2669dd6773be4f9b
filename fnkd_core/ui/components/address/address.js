// Keeps the address that of the view: replaced, so that "back" goes to the page before, not to the filter before.

const told = new Set();
let last = 0;

// The parameters that are ours, in one spelling.
function ours(text, names) {
  const found = new URLSearchParams();
  for (const [name, value] of new URLSearchParams(text)) if (names.includes(name)) found.append(name, value);
  return found.toString();
}

export default function ({ data, parentElement, setTriggerValue }) {
  // It takes no room on the page, not even the gap between two elements.
  const host = parentElement.host ?? parentElement;
  host.closest('[data-testid="stElementContainer"]')?.style.setProperty("display", "none");
  const { path, query, names, asked, session, order } = data;
  if (location.pathname.split("/").pop() !== path) return;
  if (asked !== null && !told.has(session)) {
    told.add(session);
    if (ours(location.search, names) !== ours(asked, names)) {
      setTriggerValue("differs", location.search.slice(1));
      return;
    }
  }
  if (order <= last) return;
  last = order;
  const foreign = [...new URLSearchParams(location.search)].filter(([name]) => !names.includes(name));
  const rest = new URLSearchParams(foreign).toString();
  const wanted = [query, rest].filter(Boolean).join("&");
  if (location.search.slice(1) === wanted) return;
  history.replaceState(history.state, "", location.pathname + (wanted ? `?${wanted}` : "") + location.hash);
}
