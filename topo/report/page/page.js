"use strict";
// The page: filters, charts, table.  Names are only ever set as text.

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const columns = new Map(data.columns.map(column => [column.name, column]));
  const same = new Map(data.same);
  const state = {chosen: new Map(), search: "", points: null, sort: null, down: false, all: false, page: 25};
  const byId = id => document.getElementById(id);

  function value(name, row) {
    const column = columns.get(name);
    if (!column) return same.has(name) ? same.get(name) : name.startsWith("input_") ? null : value(`input_${name}`, row);
    const found = column.values[row];
    return column.words ? column.words[found] : found;
  }

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, given] of Object.entries(attributes)) made.setAttribute(name, given);
    made.append(...children);
    return made;
  }

  function words(name, found) {
    if (found === null || found === undefined) return "";
    if (typeof found !== "number") return String(found);
    if (name === "bytes" || name.endsWith("_bytes")) return size(found);
    const far = found !== 0 && (Math.abs(found) < 1e-3 || Math.abs(found) >= 1e7);
    return far ? found.toExponential(4) : String(Number(found.toPrecision(5)));
  }

  // ------------------------------------------------------------------------------------------------ filters
  function left() {
    const wanted = [...state.chosen].map(([name, values]) => [columns.get(name), values]);
    const search = state.search.toLowerCase();
    const texts = search ? data.columns.filter(column => column.words).map(column =>
      [column.values, column.words.map(word => word.toLowerCase().includes(search))]) : [];
    const rows = [];
    for (let row = 0; row < data.rows; row += 1) {
      if (!wanted.every(([column, values]) => values.has(column.values[row]))) continue;
      if (state.points && !state.points.has(value("point", row))) continue;
      if (search && !texts.some(([values, hit]) => hit[values[row]])) continue;
      rows.push(row);
    }
    return rows;
  }

  function addFilters() {
    for (const name of data.filters) {
      const column = columns.get(name);
      const values = column.words ? column.words.map((word, at) => [at, word || "none"])
        : [...new Set(column.values)].sort((a, b) => a - b).map(number => [number, words(name, number) || "none"]);
      const title = name.replace(/^input_/, "");
      const summary = element("summary", {}, title), said = element("span");
      summary.append(said);
      const fieldset = element("fieldset", {}, element("legend", {}, `Keep records with ${title}`));
      const boxes = values.map(([key, word]) => {
        const box = element("input", {type: "checkbox"});
        box.checked = true;
        fieldset.append(element("label", {}, box, " ", word));
        return [key, box];
      });
      const tell = () => {
        const kept = boxes.filter(([, box]) => box.checked);
        said.textContent = kept.length === boxes.length ? ": all" : `: ${kept.length} of ${boxes.length}`;
        if (kept.length === boxes.length) state.chosen.delete(name);
        else state.chosen.set(name, new Set(kept.map(([key]) => key)));
      };
      fieldset.addEventListener("change", () => { tell(); refresh(); });
      byId("reset").addEventListener("click", () => { for (const [, box] of boxes) box.checked = true; tell(); });
      tell();
      byId("filter-list").append(element("details", {"data-filter": name}, summary, fieldset));
    }
    if (!data.filters.length) byId("filter-list").append("Nothing was varied that one could filter by.");
    byId("reset").addEventListener("click", () => {
      state.search = byId("search").value = "";
      state.points = null;
      refresh();
    });
    byId("search").addEventListener("input", event => { state.search = event.target.value; refresh(); });
    const evidence = byId("show-evidence");
    if (evidence) {
      evidence.addEventListener("click", () => {
        state.points = new Set(evidence.dataset.points.split(" "));
        refresh();
        byId("records").scrollIntoView();
      });
    }
  }

  // ------------------------------------------------------------------------------------------------- charts
  const charts = [];
  let rows = [];

  function addCharts() {
    const near = new IntersectionObserver(entries => {
      for (const entry of entries) {
        const chart = charts.find(one => one.plot === entry.target);
        chart.near = entry.isIntersecting;
        if (chart.near && chart.stale) draw(chart);
      }
    }, {rootMargin: "400px"});
    data.charts.forEach((chart, number) => {
      const title = element("h3", {id: `chart-${number}`}, chart.title);
      const plot = element("div", {class: "plot", role: "img", "aria-labelledby": `chart-${number} said-${number}`});
      const caption = element("figcaption", {id: `said-${number}`});
      byId("chart-list").append(element("figure", {class: "chart"}, title, plot, caption));
      charts.push({chart, plot, caption, stale: true, near: false});
      near.observe(plot);
    });
    if (!data.charts.length) byId("chart-list").append("Nothing was varied that could be drawn.");
    window.addEventListener("beforeprint", () => charts.filter(one => one.stale).forEach(draw));
  }

  function draw(one) {
    const {traces, layout, words} = drawing(one.chart, rows, value);
    one.caption.textContent = words;
    one.stale = false;
    Plotly.react(one.plot, traces, layout, {responsive: true, displaylogo: false,
      modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"]});
  }

  // -------------------------------------------------------------------------------------------------- table
  function names() {
    return state.all ? data.columns.map(column => column.name) : data.foremost;
  }

  function order(name) {
    const column = columns.get(name);
    const rank = column.words && (() => {
      const sorted = column.words.map((word, at) => at).sort((a, b) =>
        column.words[a].localeCompare(column.words[b], "en", {numeric: true}));
      const place = [];
      sorted.forEach((at, position) => { place[at] = position; });
      return place;
    })();
    const key = row => rank ? rank[column.values[row]] : column.values[row] ?? -Infinity;
    return (a, b) => (state.down ? -1 : 1) * (key(a) - key(b)) || a - b;
  }

  function table() {
    const shownNames = names();
    if (state.sort && !columns.has(state.sort)) state.sort = null;
    const sorted = state.sort ? [...rows].sort(order(state.sort)) : rows;
    const head = element("tr");
    for (const name of shownNames) {
      const button = element("button", {type: "button", "data-sort": name}, name.replace(/^input_/, ""));
      const active = state.sort === name;
      if (active) button.append(state.down ? " \u25bc" : " \u25b2");
      button.addEventListener("click", () => {
        state.down = active ? !state.down : false;
        state.sort = name;
        table();
        byId("table").querySelector(`[data-sort="${CSS.escape(name)}"]`).focus();
      });
      head.append(element("th", {scope: "col", "aria-sort": active ? (state.down ? "descending" : "ascending") : "none"},
        button));
    }
    const body = document.createDocumentFragment();
    for (const row of sorted.slice(0, state.page)) {
      const line = element("tr");
      for (const name of shownNames) {
        const found = value(name, row);
        line.append(element("td", typeof found === "number" ? {class: "number"} : {}, words(name, found)));
      }
      body.append(line);
    }
    byId("table").tHead.replaceChildren(head);
    byId("table").tBodies[0].replaceChildren(body);
    const number = Math.min(state.page, rows.length);
    byId("table").caption.textContent = `${number} of ${rows.length} records; a click on a column's name sorts by it`;
    byId("more").hidden = rows.length <= state.page;
  }

  function csv() {
    const quote = found => {
      const text = found === null || found === undefined ? "" : String(found);
      return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
    };
    const all = [...data.columns.map(column => column.name), ...same.keys()];
    return [all.map(quote).join(","), ...rows.map(row => all.map(name => quote(value(name, row))).join(","))].join("\r\n");
  }

  function refresh() {
    rows = left();
    byId("count").textContent = `${rows.length} of ${data.rows} records are left.`;
    for (const one of charts) {
      one.stale = true;
      if (one.near) draw(one);
    }
    table();
  }

  byId("all-columns").addEventListener("change", event => { state.all = event.target.checked; table(); });
  byId("more").addEventListener("click", () => { state.page += 200; table(); });
  byId("download").addEventListener("click", () => {
    const link = element("a", {href: URL.createObjectURL(new Blob([csv()], {type: "text/csv"})), download: "records.csv"});
    link.click();
    URL.revokeObjectURL(link.href);
  });
  addFilters();
  addCharts();
  refresh();
  document.body.dataset.ready = "true";
})();
