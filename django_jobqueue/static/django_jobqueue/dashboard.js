// Live pages: every 5 s the same address is fetched again, and each element of it that is
// marked data-live takes the place of the one with its id. Without this file every page
// works as well, and shows what was so when it was opened.
"use strict";
(() => {
  const bar = document.getElementById("jq-live");
  const regions = () => [...document.querySelectorAll("[data-live][id]")];
  const SPAN = 300; // seconds that the live chart looks back

  // The tab of this page, where a phone has no room for all; and boxes that tick all others.
  document.querySelector(".jq-tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  document.addEventListener("change", (event) => {
    if (!event.target.matches("input[data-pick-all]")) return;
    const boxes = event.target.closest("table, form").querySelectorAll('input[name="pick"]');
    boxes.forEach((box) => { box.checked = event.target.checked; });
  });
  document.addEventListener("submit", (event) => { // a double click does it once
    if (event.target.method === "post" && event.timeStamp - event.target.dataset.sent < 2000) event.preventDefault();
    else event.target.dataset.sent = event.timeStamp;
  });

  // The live chart: jobs and failures a second, from totals in data attributes -----

  const chart = document.getElementById("jq-rates");
  const numbers = new Intl.NumberFormat(document.documentElement.lang || "en", { maximumFractionDigits: 1 });
  const [path, samples] = [`jq-rates:${location.pathname}`, []];

  function remember(page) {
    const totals = page.querySelector("[data-processed][data-failed][data-at]");
    if (!chart || !totals) return;
    const sample = ["at", "processed", "failed"].map((name) => Number(totals.dataset[name]));
    const last = samples.at(-1);
    // Totals that went back began anew: there is no rate from before to now.
    if (last && (sample[1] < last[1] || sample[2] < last[2])) samples.length = 0;
    if (!last || sample[0] > last[0]) samples.push(sample);
    while (samples.length && samples[0][0] < sample[0] - SPAN) samples.shift();
    try { sessionStorage.setItem(path, JSON.stringify(samples)); } catch { /* only for comfort */ }
    draw();
  }

  function rates(which) {
    // A step for each time between two looks: of its parts nothing is known.
    return samples.slice(1).flatMap((each, at) => {
      const before = samples[at];
      const rate = (each[which] - before[which]) / Math.max(each[0] - before[0], 0.001);
      return [[before[0], rate], [each[0], rate]];
    });
  }

  function ceiling(most) {
    const power = 10 ** Math.floor(Math.log10(Math.max(most, 1)));
    return [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((top) => top >= most);
  }

  function draw() {
    const lines = [rates(1), rates(2)];
    if (!lines[0].length) return;
    const top = ceiling(Math.max(...lines.flat().map(([, rate]) => rate)));
    const now = samples.at(-1)[0];
    chart.querySelector(".jq-top").textContent = numbers.format(top);
    ["processed", "failed"].forEach((name, at) => {
      const points = lines[at].map(([when, rate]) =>
        `${(600 * (when - now + SPAN) / SPAN).toFixed(1)},${(150 - 150 * rate / top).toFixed(1)}`);
      chart.querySelector(`[data-line="${name}"]`).setAttribute("points", points.join(" "));
      chart.querySelector(`[data-rate="${name}"]`).textContent = numbers.format(lines[at].at(-1)[1]);
    });
  }

  try { samples.push(...JSON.parse(sessionStorage.getItem(path) || "[]")); } catch { samples.length = 0; }
  remember(document);

  // Swapping -------------------------------------------------------------------

  // Nothing is taken from under the hands of who types, ticks, marks a text or is about to press.
  function inUse(region) {
    const marked = document.getSelection();
    const changed = (field) => field.type !== "hidden" && field.value !== field.defaultValue;
    return region.contains(document.activeElement)
      || region.querySelector("details[open], input:checked, button:hover, summary:hover") !== null
      || [...region.querySelectorAll("input")].some(changed)
      || (!marked.isCollapsed && marked.containsNode(region, true));
  }

  function swap(page) {
    for (const old of regions()) {
      const fresh = page.getElementById(old.id);
      if (fresh === null || inUse(old) || fresh.outerHTML === old.outerHTML) continue;
      const seen = [...old.querySelectorAll(".jq-scroll")].map((box) => [box.scrollLeft, box.scrollTop]);
      old.replaceWith(document.adoptNode(fresh));
      [...fresh.querySelectorAll(".jq-scroll")].slice(0, seen.length).forEach((box, at) => box.scrollTo(...seen[at]));
    }
  }

  // The clock ------------------------------------------------------------------

  if (!bar || !regions().length) return;
  const [button, told] = [bar.querySelector("button"), bar.querySelector("[role=status]")];
  const every = Number(bar.dataset.every) * 1000;
  let timer = 0, running = null, paused = false, failures = 0;

  function show(state) {
    if (bar.dataset.state === state) return; // said once, not every 5 s
    bar.dataset.state = state;
    told.textContent = bar.dataset[state];
  }

  async function look() {
    const mine = running = new AbortController();
    const limit = setTimeout(() => mine.abort(), 4 * every);
    const how = { cache: "no-store", redirect: "error", headers: { "X-Jobqueue-Live": "1" } };
    try {
      const answer = await fetch(location.href, { ...how, signal: mine.signal });
      if (!answer.ok) throw new Error(answer.statusText);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (running !== mine) return; // stopped meanwhile
      failures = 0;
      remember(page);
      swap(page);
      show("on");
    } catch {
      if (running !== mine) return;
      failures += 1;
      show("lost");
    } finally {
      clearTimeout(limit);
      if (running === mine) timer = setTimeout(look, every * Math.min(2 ** failures, 12));
    }
  }

  const stop = () => { clearTimeout(timer); running?.abort(); running = null; };

  button.addEventListener("click", () => {
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
    stop();
    show(paused ? "paused" : "on");
    if (!paused) look();
  });
  document.addEventListener("visibilitychange", () => {
    stop();
    if (!document.hidden && !paused) look();
  });
  // Whoever leaves, by a link or a form, wants that page and no other answer beside it.
  addEventListener("pagehide", () => { paused = true; stop(); });
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  bar.hidden = false;
  show("on");
  timer = setTimeout(look, every);
})();
