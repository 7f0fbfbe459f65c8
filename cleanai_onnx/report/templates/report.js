"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const made = (tag, properties, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  };

  // Light and dark: the system's choice, until the button is used. A file may have no storage.
  const root = document.documentElement;
  const theme = document.querySelector(".theme");
  const remember = (value) => { try { return value ? localStorage.setItem("theme", value) : localStorage.getItem("theme"); } catch { return null; } };
  if (["light", "dark"].includes(remember())) root.dataset.theme = remember();
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    remember(root.dataset.theme);
  });

  // Tables that sort by any column; what is no number comes last among numbers.
  const order = new Intl.Collator("en", { numeric: true });
  const keyOf = (cell) => cell.dataset.key ?? cell.textContent.trim();
  const sort = (table, column, ascending) => {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => {
      const key = keyOf(row.cells[column]);
      return { row, key, number: key === "" ? NaN : Number(key.replaceAll(",", "")) };
    });
    const numbers = rows.some((one) => !Number.isNaN(one.number));
    rows.sort((a, b) => {
      if (!numbers) return ascending ? order.compare(a.key, b.key) : order.compare(b.key, a.key);
      if (Number.isNaN(a.number) || Number.isNaN(b.number)) return Number.isNaN(a.number) - Number.isNaN(b.number);
      return ascending ? a.number - b.number : b.number - a.number;
    });
    body.append(...rows.map((one) => one.row));
  };
  for (const table of all("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.classList.add("sorts");
      head.tabIndex = 0;
      const turn = () => {
        const ascending = head.ariaSort ? head.ariaSort === "descending" : !head.classList.contains("num") || column === 0;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.ariaSort = ascending ? "ascending" : "descending";
        sort(table, column, ascending);
      };
      head.addEventListener("click", turn);
      head.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); turn(); }
      });
    });
  }

  // Views as tabs, one filter for each group of tables.
  for (const group of all(".tabs")) {
    const tabs = all(".tab", group);
    const controls = made("div", { className: "controls" });
    const buttons = tabs.map((tab) => made("button", { type: "button", textContent: tab.dataset.tab }));
    const show = (chosen) => tabs.forEach((tab, number) => {
      tab.hidden = number !== chosen;
      buttons[number].ariaPressed = String(number === chosen);
    });
    buttons.forEach((button, number) => button.addEventListener("click", () => show(number)));
    tabs.forEach((tab) => { const title = tab.querySelector("h3"); if (title) title.hidden = true; });
    controls.append(...buttons);
    group.prepend(controls);
    show(0);
  }
  const filter = (tables) => {
    const box = made("input", { type: "search", className: "filter", placeholder: "Filter rows …", ariaLabel: "Filter rows" });
    box.addEventListener("input", () => {
      const wanted = box.value.trim().toLowerCase();
      for (const table of tables)
        for (const row of table.tBodies[0].rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    });
    return box;
  };
  for (const group of all(".tabs")) group.querySelector(".controls").append(filter(all("table.filterable", group)));
  for (const table of all("table.filterable")) {
    if (table.closest(".tabs") || table.tBodies[0].rows.length < 15) continue;
    const box = table.closest(".card");
    (box.tagName === "DETAILS" ? table.closest(".scroll") : box).before(made("div", { className: "controls" }, filter([table])));
  }

  // A cursor through all panels at the same layer, and what each of them says there.
  const hover = JSON.parse(document.getElementById("hover").textContent);
  const count = hover.layers.length;
  const tip = document.querySelector(".tip");
  const panels = all(".panel");
  let at = -1;
  const leave = () => { at = -1; tip.hidden = true; all(".cursor").forEach((cursor) => { cursor.hidden = true; }); };
  const point = (panel, layer, x, y) => {
    at = Math.min(count - 1, Math.max(0, layer));
    for (const other of panels) {
      const cursor = other.querySelector(".cursor");
      const plot = other.querySelector("svg");
      cursor.hidden = false;
      cursor.style.left = `${plot.parentNode.clientWidth - plot.clientWidth + (at * plot.clientWidth) / count}px`;
      cursor.style.width = `${plot.clientWidth / count}px`;
    }
    const said = hover.metrics[panel.dataset.metric];
    const views = ["unit", "channel"].filter((view) => said[view]);
    const lines = views.map((view) => made("div", { textContent: `${view}s ${said[view][at]}` }));
    tip.replaceChildren(made("b", { textContent: `${at + 1} · ${hover.layers[at]}` }), ...lines);
    tip.hidden = false;
    tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${y + 18 + tip.offsetHeight > innerHeight ? y - tip.offsetHeight - 12 : y + 18}px`;
  };
  for (const panel of panels) {
    const plot = panel.querySelector("svg");
    panel.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      if (event.clientX < box.left) return leave();
      point(panel, Math.floor(((event.clientX - box.left) / box.width) * count), event.clientX, event.clientY);
    });
    panel.addEventListener("pointerleave", leave);
    panel.addEventListener("blur", leave);
    panel.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const box = plot.getBoundingClientRect();
      point(panel, at + step, box.left + (box.width * (at + step + 0.5)) / count, box.top + box.height / 2);
    });
    panel.addEventListener("click", () => {
      if (at < 0) return;
      all("tr.found").forEach((row) => row.classList.remove("found"));
      const rows = all(`tr[data-layer="${at + 1}"]`);
      rows.forEach((row) => row.classList.add("found"));
      rows.find((row) => row.offsetParent)?.scrollIntoView({ block: "center" });
    });
  }

  // The tables of all metrics, at once.
  const details = all("#tables details");
  if (details.length) {
    const button = made("button", { type: "button", textContent: "Open all" });
    button.addEventListener("click", () => {
      const open = details.some((one) => !one.open);
      details.forEach((one) => { one.open = open; });
      button.textContent = open ? "Close all" : "Open all";
    });
    details[0].before(made("div", { className: "controls" }, button));
  }
  // Paper shows all tables.
  let closed = [];
  addEventListener("beforeprint", () => { closed = all("details.card:not([open])"); closed.forEach((one) => { one.open = true; }); });
  addEventListener("afterprint", () => closed.forEach((one) => { one.open = false; }));

  // Where one is.
  const links = new Map(all(".toc a").map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) {
      links.forEach((link) => link.classList.remove("here"));
      links.get(entry.target.id)?.classList.add("here");
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  links.forEach((_, id) => seen.observe(document.getElementById(id)));
})();
