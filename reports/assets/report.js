// What the page can do beyond what it shows without a script: filter, sort, open by address, search by key.
// An opened example stands in a `noscript` element: with scripts it is plain text until someone opens it, so that ten
// thousand of them cost no elements; without scripts it is part of the page.
(() => {
  "use strict";
  const list = document.getElementById("example-list");
  const form = document.getElementById("filter");
  const text = document.getElementById("filter-text");
  const kind = document.getElementById("filter-kind");
  const sort = document.getElementById("filter-sort");
  const count = document.getElementById("filter-count");
  const rows = [], states = [], heads = [], byAnchor = new Map();

  const head = (row) => row.querySelector("summary, a") || row;
  // Makes elements of what a `noscript` element holds; says whether there was one.
  const release = (parent) => {
    const held = parent.querySelector(":scope > noscript");
    if (!held) return null;
    const body = document.createElement("template");
    body.innerHTML = held.textContent;
    const made = Array.from(body.content.children);
    held.replaceWith(body.content);
    return made;
  };
  const adopt = (made) => made.filter((row) => row.matches(".example")).forEach((row) => {
    rows.push(row);
    states.push(row.dataset.state.split(" "));
    byAnchor.set(row.dataset.anchor || row.id, row);
  });
  const more = () => {
    const made = release(list);
    if (made) adopt(made);
    return made !== null;
  };
  const all = () => { while (more()); };
  const idle = window.requestIdleCallback || ((task) => setTimeout(task, 20));
  const trickle = () => { if (more()) idle(trickle); };

  const apply = () => {
    all();
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length && !heads.length) rows.forEach((row) => heads.push(head(row).textContent.toLowerCase()));
    let shown = 0;
    rows.forEach((row, index) => {
      const fits = (!kind.value || states[index].includes(kind.value)) && words.every((word) => heads[index].includes(word));
      if (row.hidden === fits) row.hidden = !fits;
      if (fits) shown += 1;
    });
    count.textContent = shown === rows.length ? "" : shown + " of " + rows.length + " shown";
  };

  const arrange = () => {
    all();
    const order = rows.map((row, index) => [row, index]);
    if (sort.value === "last") order.reverse();
    else if (sort.value === "id") {
      const names = new Map(rows.map((row) => [row, (row.querySelector("code") || row.querySelector(".ex-title")).textContent]));
      const by = new Intl.Collator(undefined, { numeric: true });
      order.sort((a, b) => by.compare(names.get(a[0]), names.get(b[0])) || a[1] - b[1]);
    } else if (sort.value) {
      const key = (row) => {
        const number = parseFloat(row.dataset.keys.split(" ")[Number(sort.value)]);
        return Number.isNaN(number) ? Infinity : number;
      };
      const keys = new Map(rows.map((row) => [row, key(row)]));
      order.sort((a, b) => (keys.get(a[0]) === keys.get(b[0]) ? a[1] - b[1] : keys.get(a[0]) - keys.get(b[0])));
    }
    list.append(...order.map(([row]) => row));
  };

  const reveal = () => {
    const anchor = location.hash.slice(1);
    if (anchor.startsWith("example-") && !byAnchor.has(anchor)) all();
    const row = byAnchor.get(anchor);
    if (!row) return;
    row.hidden = false;
    release(row);
    if ("open" in row) row.open = true;
    row.scrollIntoView({ block: "start" });
    head(row).focus({ preventScroll: true });
  };

  const typing = (element) => element.matches("input, select, textarea");
  const keys = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/" && !typing(event.target)) {
      event.preventDefault();
      text.focus();
    } else if ((event.key === "j" || event.key === "k") && !typing(event.target)) {
      const order = Array.from(list.children).filter((row) => !row.hidden);
      const here = order.findIndex((row) => row.contains(document.activeElement));
      const next = order[event.key === "j" ? here + 1 : Math.max(here - 1, 0)];
      if (next) head(next).focus();
    }
  };

  adopt(Array.from(list.children));
  if (rows.length > 1) form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  text.addEventListener("input", apply);
  kind.addEventListener("change", apply);
  sort.addEventListener("change", arrange);
  list.addEventListener("toggle", (event) => { if (event.target.open && event.target.matches(".example")) release(event.target); }, true);
  document.getElementById("filter-close").addEventListener("click", () => rows.forEach((row) => { if (row.open) row.open = false; }));
  document.addEventListener("keydown", keys);
  window.addEventListener("hashchange", reveal);
  reveal();
  idle(trickle);
})();
