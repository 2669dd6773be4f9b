// Asks for the picture of the point on which the mouse rests a moment, and shows it beside a ring round the point.

const DWELL_MS = 120;

export default function ({ data, parentElement, setTriggerValue }) {
  const box = parentElement.querySelector(".hover"), card = box.querySelector("figure");
  const image = card.querySelector("img"), caption = card.querySelector("figcaption");
  const host = parentElement.host ?? parentElement;
  host.closest('[data-testid="stElementContainer"]')?.style.setProperty("position", "absolute");
  box.ask = (id) => setTriggerValue("hovered", id);
  image.addEventListener("load", () => image.classList.toggle("smooth", image.naturalWidth > 64));
  if (data.picture) image.src = data.picture;
  caption.replaceChildren(...data.lines.map((line) => Object.assign(document.createElement("div"), { textContent: line })));
  // What came late is of a point that the mouse has left.
  card.hidden = !data.picture || box.at?.id !== data.shown;

  const hide = () => { clearTimeout(box.timer); box.at = null; box.hidden = true; };
  const place = (plot, point) => {
    const frame = plot.getBoundingClientRect();
    const x = frame.left + point.xaxis._offset + point.xaxis.l2p(point.x);
    const y = frame.top + point.yaxis._offset + point.yaxis.l2p(point.y);
    box.style.transform = `translate(${x}px, ${y}px)`;
    box.classList.toggle("left", x > innerWidth - 180);
    box.classList.toggle("up", y > innerHeight - 180);
  };
  const hovered = (plot) => (event) => {
    const point = event.points?.[0];
    const id = Number(point?.customdata ?? NaN);
    if (Number.isNaN(id)) return;
    clearTimeout(box.timer);
    if (box.at?.id !== id) card.hidden = true;
    box.at = { id };
    place(plot, point);
    box.hidden = false;
    box.timer = setTimeout(() => box.ask(id), DWELL_MS);
  };
  const watch = () => {
    const plot = document.querySelector(`.st-key-${CSS.escape(data.chart)} .js-plotly-plot`);
    if (!plot?.on || plot === box.plot) return;
    box.plot = plot;
    plot.on("plotly_hover", hovered(plot));
    plot.on("plotly_unhover", hide);
    plot.on("plotly_relayout", hide);
  };
  // The chart is drawn when it pleases, and drawn anew with other data.
  watch();
  const observer = new MutationObserver(watch);
  observer.observe(document.body, { childList: true, subtree: true });
  return () => { observer.disconnect(); clearTimeout(box.timer); };
}
