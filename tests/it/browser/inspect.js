// What a reader would trip over on the page as it stands now. An expression, evaluated outside the page's policy.
(() => {
  const root = document.documentElement;
  const width = root.clientWidth;
  const name = (element) => element.tagName.toLowerCase() + "." + (element.getAttribute("class") || "") + " " + element.textContent.trim().slice(0, 60);
  const scrolls = (element) => {
    for (let at = element; at && at !== document.body; at = at.parentElement) {
      const style = getComputedStyle(at);
      if (style.overflowX !== "visible" || style.position === "absolute" && style.clipPath !== "none") return true;
    }
    return false;
  };
  const rgb = (text) => (text.match(/[\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => {
    const part = (c) => ((c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = rgb(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const wide = [], faint = [], seen = new Set();
  // What a closed section holds is not laid out; asking for its boxes would lay it out.
  const closed = (element) => element.tagName !== "SUMMARY" && element.parentElement.matches("details:not([open])");
  const visit = (element) => {
    if (element !== document.body && closed(element)) return;
    look(element);
    for (const child of element.children) visit(child);
  };
  const look = (element) => {
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height) return;
    if ((box.right > width + 1 || box.left < -1) && !element.closest("svg, .skip") && !scrolls(element)) wide.push(name(element) + " to " + Math.round(box.right));
    const says = Array.from(element.childNodes).some((node) => node.nodeType === 3 && node.data.trim());
    if (!says || scrolls(element) && element.closest(".hidden")) return;
    const style = getComputedStyle(element);
    const ink = rgb(element.closest("svg") ? style.fill : style.color), paper = behind(element);
    const key = ink + "/" + paper;
    if (seen.has(key)) return;
    seen.add(key);
    const [a, b] = [light(ink), light(paper)].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) faint.push(name(element) + " has contrast " + contrast.toFixed(2));
  };
  visit(document.body);
  return {
    scroll: root.scrollWidth,
    width,
    wide: wide.slice(0, 10),
    faint: faint.slice(0, 10),
    paper: light(behind(document.body)),
    pwned: String(window.pwned),
    title: document.title,
    scripts: document.scripts.length,
    foreign: document.querySelectorAll("img, iframe, object, embed, base, link, video, audio, a:not([href^='#'])").length,
    handlers: Array.from(document.querySelectorAll("*")).filter((e) => Array.from(e.attributes).some((a) => a.name.startsWith("on") || a.name === "style")).length,
    filter: !document.getElementById("filter").hidden,
    examples: document.querySelectorAll("#example-list > *").length,
    text: document.body.innerText.length,
  };
})()
