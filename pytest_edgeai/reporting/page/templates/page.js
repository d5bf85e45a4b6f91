"use strict";
(() => {
  const KEYS = ["model", "operator", "tier"];
  const NEAR = 300; // pixels from what is seen, within which a plot is drawn at once
  const root = document.documentElement;
  const data = JSON.parse(document.getElementById("data").textContent);
  const form = document.getElementById("filters");
  const boxes = [...form.querySelectorAll("input[type=checkbox]")];
  const keyed = [...document.querySelectorAll("main [data-model], main [data-operator], main [data-tier]")];
  const views = new Map();
  const rowsOf = new Map();
  const stale = new Set(); // plots that were drawn before the filters changed, and that nobody sees
  let chosen = {};

  function read() {
    chosen = {};
    for (const box of boxes) {
      chosen[box.name] ??= new Set();
      if (box.checked) chosen[box.name].add(box.value);
    }
  }

  // What has no value of a key is not filtered by it; a filter with one value only is not on the page.
  function counts(valueOf) {
    return KEYS.every((key) => {
      const value = valueOf(key);
      return value === undefined || value === null || !(key in chosen) || chosen[key].has(value);
    });
  }

  function rows(id) {
    if (!rowsOf.has(id)) {
      const { columns, rows: values } = data.plots[id];
      rowsOf.set(id, values.map((row) => Object.fromEntries(columns.map((column, place) => [column, row[place]]))));
    }
    return rowsOf.get(id).filter((row) => counts((key) => row[key]));
  }

  async function draw(place) {
    const id = place.id;
    if (views.has(id) || place.closest("[hidden]")) return;
    views.set(id, null); // begun
    const { spec, panel } = data.plots[id];
    const adapted = { ...spec, datasets: { rows: rows(id) } };
    const columns = Math.max(1, Math.floor(place.clientWidth / 200));
    adapted.config = { ...spec.config, legend: { ...spec.config.legend, columns } };
    if (panel) adapted.columns = Math.max(1, Math.floor(place.clientWidth / panel));
    try {
      const { view } = await vegaEmbed(place, adapted, { actions: false, renderer: "svg" });
      views.set(id, view);
      place.querySelector("svg").setAttribute("aria-hidden", "true"); // the place itself has a label, and a table
      place.style.minHeight = "";
      // A region that scrolls has to be reachable by the keyboard.
      if (place.scrollWidth > place.clientWidth) place.tabIndex = 0;
      await refresh(id); // the filters may have changed meanwhile
      place.dataset.drawn = "true";
    } catch (error) {
      place.textContent = "This plot could not be drawn; the table below has its numbers.";
      console.error(id, error);
    }
  }

  async function refresh(id) {
    const view = views.get(id);
    if (!view) return;
    view.data("rows", rows(id));
    await view.resize().runAsync();
  }

  async function apply() {
    read();
    for (const element of keyed) element.hidden = !counts((key) => element.dataset[key]);
    const selector = "#verdicts table[data-name=strategies] tbody tr, #strategies tbody tr";
    const strategies = [...document.querySelectorAll(selector)];
    const shown = strategies.filter((row) => !row.hidden).length;
    document.getElementById("shown").textContent = `${shown} of ${strategies.length} strategies shown`;
    for (const id of views.keys()) stale.add(id);
    root.dataset.settled = "false";
    await Promise.all([...stale].filter(isNear).map(freshen));
    document.querySelectorAll(".plot").forEach((place) => seen.observe(place)); // some may be visible only now
    root.dataset.applied = String(Number(root.dataset.applied ?? 0) + 1);
    if (!working) idle(work);
    working = true;
  }

  function isNear(id) {
    const { top, bottom, height } = document.getElementById(id).getBoundingClientRect();
    return height > 0 && bottom > -NEAR && top < window.innerHeight + NEAR;
  }

  function freshen(id) {
    stale.delete(id);
    return refresh(id);
  }

  const seen = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) stale.has(target.id) ? freshen(target.id) : draw(target);
    }
  }, { rootMargin: `${NEAR}px` });

  form.addEventListener("change", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("click", ({ target }) => {
    const key = target.dataset.all ?? target.dataset.none;
    if (key === undefined) return;
    for (const box of boxes) if (box.name === key) box.checked = "all" in target.dataset;
    apply();
  });

  // Whatever nobody has scrolled to yet is drawn when there is nothing else to do, so that it is there on paper.
  const idle = window.requestIdleCallback ?? ((task) => setTimeout(task, 50));
  let working = false;
  async function work() {
    const waits = ({ id }) => !views.has(id) || stale.has(id);
    const next = [...document.querySelectorAll(".plot")].find((place) => waits(place) && !place.closest("[hidden]"));
    if (next) {
      await (stale.has(next.id) ? freshen(next.id) : draw(next));
      idle(work);
    } else {
      working = false;
      root.dataset.settled = "true";
    }
  }

  form.hidden = boxes.length === 0;
  apply().then(() => { root.dataset.interactive = String(Math.round(performance.now())); });
})();
