(() => {
  "use strict";
  const list = document.getElementById("example-list");
  const form = document.getElementById("filter");
  const text = document.getElementById("filter-text");
  const kind = document.getElementById("filter-kind");
  const count = document.getElementById("filter-count");
  const rows = Array.from(list.querySelectorAll(".example"));
  const heads = rows.map((row) => (row.querySelector("summary") || row).textContent.toLowerCase());
  const states = rows.map((row) => row.dataset.state.split(" "));

  const apply = () => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, index) => {
      const fits = (!kind.value || states[index].includes(kind.value)) && words.every((word) => heads[index].includes(word));
      row.hidden = !fits;
      if (fits) shown += 1;
    });
    count.textContent = shown === rows.length ? "" : shown + " of " + rows.length + " shown";
  };

  const reveal = () => {
    const id = location.hash.slice(1);
    const target = id && document.getElementById(id);
    const example = target && target.closest("details.example");
    if (!example) return;
    example.hidden = false;
    example.open = true;
    example.scrollIntoView({ block: "start" });
  };

  if (rows.length > 1) form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  text.addEventListener("input", apply);
  kind.addEventListener("change", apply);
  document.getElementById("filter-close").addEventListener("click", () => rows.forEach((row) => { row.open = false; }));
  window.addEventListener("hashchange", reveal);
  apply();
  reveal();
})();
