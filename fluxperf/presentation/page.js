"use strict";
(() => {
  const root = document.documentElement;
  const darkOf = JSON.parse(document.getElementById("dark-of").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  // So many plots are drawn also where nobody has scrolled to them: for paper. More would take too much memory.
  const MOST_UNSEEN = 72;
  root.classList.add("script");

  // Plots: each is drawn once it comes into view, and again when the page turns light or dark.

  const places = [...document.querySelectorAll(".canvas")];
  const drawings = new Map(); // the latest drawing of each place, finished or not

  async function render(place, theme) {
    const text = place.closest("figure").querySelector("script[type='application/json']").textContent;
    const item = JSON.parse(theme === "dark" ? text.replace(/#[0-9a-f]{6}/g, (colour) => darkOf[colour] ?? colour) : text);
    const views = await Bokeh.embed.embed_item(item, place);
    place.dataset.drawn = theme;
    return views;
  }

  function draw(place) {
    const theme = dark.matches ? "dark" : "light";
    const earlier = drawings.get(place);
    if (earlier?.theme === theme) return earlier.done;
    const done = (async () => {
      if (earlier) {
        const views = await earlier.done;
        views?.clear();
        place.replaceChildren();
      }
      try {
        return await render(place, theme);
      } catch (error) {
        place.textContent = "This plot could not be drawn: " + error.message;
        place.dataset.drawn = "failed";
        return null;
      }
    })();
    drawings.set(place, { theme, done });
    return done;
  }

  const seen = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        seen.unobserve(entry.target);
        draw(entry.target);
      }
    },
    { rootMargin: "400px" },
  );

  async function drawTheRest() {
    const idle = window.requestIdleCallback ?? ((work) => setTimeout(work, 50));
    for (const place of places.slice(0, MOST_UNSEEN)) {
      await new Promise((go) => idle(go));
      await draw(place);
    }
    root.dataset.plots = "drawn";
  }

  dark.addEventListener("change", () => {
    for (const place of [...drawings.keys()]) draw(place);
  });

  // What hovering shows: Bokeh gives its boxes colours of their own, in a tree that the page's styles do not reach.

  const boxStyle = new CSSStyleSheet();
  boxStyle.replaceSync(`
    :host { --tooltip-color: var(--card); --tooltip-text: var(--ink); --tooltip-border: var(--line);
            --tooltip-arrow-color: var(--rule); border-radius: 6px; font-variant-numeric: tabular-nums; }
    .bk-tooltip-row-label { color: var(--soft) !important; }`);
  new MutationObserver((changes) => {
    for (const node of changes.flatMap((change) => [...change.addedNodes])) {
      if (node.shadowRoot) node.shadowRoot.adoptedStyleSheets.push(boxStyle);
    }
  }).observe(document.body, { childList: true });

  // Paper: what was drawn for a window is as wide as that, so a picture takes its place.

  window.addEventListener("beforeprint", () => {
    root.classList.add("printing");
    for (const place of places) {
      const view = viewOf(place);
      if (!view || place.querySelector(".paper")) continue;
      const picture = view.export("png", true).canvas;
      picture.className = "paper";
      place.append(picture);
    }
  });
  window.addEventListener("afterprint", () => {
    root.classList.remove("printing");
    document.querySelectorAll(".paper").forEach((picture) => picture.remove());
  });

  function viewOf(place) {
    if (!place.firstElementChild) return null;
    for (const view of Object.values(Bokeh.index)) if (place.contains(view.el)) return view;
    return null;
  }

  // Data: of tables and plots, for the clipboard.

  async function copy(text, said, what) {
    let done = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const field = document.createElement("textarea");
      field.value = text;
      document.body.append(field);
      field.select();
      done = document.execCommand("copy");
      field.remove();
    }
    said.textContent = done ? `${what} copied.` : "The browser does not allow copying.";
  }

  const cellText = (cell) => cell.dataset.value ?? cell.textContent.trim();
  const forms = {
    tsv: (rows) => rows.map((row) => row.map((cell) => cell.replace(/[\t\n]/g, " ")).join("\t")).join("\n"),
    csv: (rows) =>
      rows.map((row) => row.map((cell) => (/[",\n]/.test(cell) ? `"${cell.replace(/"/g, '""')}"` : cell)).join(",")).join("\n"),
  };

  for (const button of document.querySelectorAll("button.copy")) {
    button.addEventListener("click", () => {
      const table = document.getElementById("table-" + button.dataset.table);
      const head = [...table.querySelectorAll("thead th")].map((cell) => cell.dataset.key ?? cell.textContent);
      const body = [...table.tBodies[0].rows].map((row) => [...row.cells].map(cellText));
      copy(forms[button.dataset.form]([head, ...body]), button.parentElement.querySelector(".said"), `${body.length} rows`);
    });
  }

  function plotRows(place) {
    const rows = [];
    for (const renderer of viewOf(place)?.model.renderers ?? []) {
      const data = renderer.data_source.data;
      const columns = data instanceof Map ? [...data] : Object.entries(data);
      if (!renderer.name) continue;
      rows.push(["series", ...columns.map(([name]) => name)]);
      const length = Math.max(...columns.map(([, values]) => values.length));
      const places = data instanceof Map ? data.get("x") : data.x;
      for (let nth = 0; nth < length; nth++) {
        if (renderer.glyph.type === "Line" && places[nth] === places[nth + 1]) continue; // the corner of a step
        rows.push([renderer.name, ...columns.map(([, values]) => String(values[nth]))]);
      }
    }
    return rows;
  }

  for (const place of places) {
    const button = document.createElement("button");
    const said = document.createElement("span");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy data";
    button.setAttribute("aria-label", `Copy the data of: ${place.dataset.title}`);
    said.className = "unseen";
    said.setAttribute("role", "status");
    button.addEventListener("click", async () => {
      await draw(place);
      await copy(forms.tsv(plotRows(place)), said, "Data");
      button.textContent = said.textContent.replace(/\.$/, "");
      setTimeout(() => (button.textContent = "Copy data"), 1500);
    });
    place.parentElement.append(button, said);
  }

  // Tables: a heading sorts by its column, and once more the other way round.

  function sortBy(table, heading) {
    const nth = heading.cellIndex;
    const down = heading.getAttribute("aria-sort") === "ascending";
    const valueOf = (row) => cellText(row.cells[nth]);
    const rows = [...table.tBodies[0].rows];
    const numeric = rows.every((row) => valueOf(row) === "" || Number.isFinite(Number(valueOf(row))));
    rows.sort((one, other) => {
      const [a, b] = [valueOf(one), valueOf(other)];
      if (a === "" || b === "") return (a === "") - (b === ""); // what has no value is last either way
      const order = numeric ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true });
      return down ? -order : order;
    });
    table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    table.tBodies[0].append(...rows);
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const heading of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => sortBy(table, heading));
    }
  }

  // A link into a folded part opens it.

  const unfold = () => document.getElementById(location.hash.slice(1))?.closest("details")?.setAttribute("open", "");
  window.addEventListener("hashchange", unfold);
  unfold();

  Bokeh.set_log_level("error");
  places.forEach((place) => seen.observe(place));
  drawTheRest();
})();
