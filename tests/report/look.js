// What a page says of itself, for browser.py. Text counts as lost where half of the smaller of two boxes lies under the other.
(() => {
  const name = e => e.tagName.toLowerCase() + (e.id ? "#" + e.id : "") + (e.className && e.className.baseVal === undefined
    ? "." + String(e.className).trim().replace(/ +/g, ".") : "") + " " + JSON.stringify((e.textContent || "").trim().slice(0, 40));
  const shown = e => e.getClientRects().length && getComputedStyle(e).visibility !== "hidden";
  const inside = e => { for (let p = e.parentElement; p; p = p.parentElement)
    if (getComputedStyle(p).overflowX !== "visible") return true; return false; };
  const wide = document.documentElement.clientWidth;
  const over = [...document.body.querySelectorAll("*")].filter(e => !e.closest("svg svg, svg *") && shown(e) && !inside(e)
    && e.getBoundingClientRect().right > wide + 1).map(name);
  const small = [], lost = [], cut = [];
  let least = Infinity;
  for (const svg of document.querySelectorAll("svg.plot")) {
    if (!shown(svg)) continue;
    const frame = svg.getBoundingClientRect(), label = (svg.getAttribute("aria-label") || "").slice(0, 50);
    const texts = [...svg.querySelectorAll("text")].filter(t => t.textContent.trim() && shown(t));
    const boxes = texts.map(t => t.getBoundingClientRect());
    texts.forEach((t, i) => {
      const m = t.getScreenCTM(), size = parseFloat(getComputedStyle(t).fontSize) * Math.hypot(m.a, m.b);
      least = Math.min(least, size);
      const said = label + ": " + JSON.stringify(t.textContent.trim().slice(0, 30));
      if (size < SMALLEST) small.push(said + " " + size.toFixed(1) + " px");
      const b = boxes[i];
      if (b.left < frame.left - 2 || b.right > frame.right + 2 || b.top < frame.top - 2 || b.bottom > frame.bottom + 2)
        cut.push(said);
      if (Math.abs(m.b) > 0.01 && Math.abs(m.a) > 0.01) return;
      for (let j = 0; j < i; j++) {
        const c = boxes[j], n = texts[j].getScreenCTM();
        if (Math.abs(n.b) > 0.01 && Math.abs(n.a) > 0.01) continue;
        const w = Math.min(b.right, c.right) - Math.max(b.left, c.left), h = Math.min(b.bottom, c.bottom) - Math.max(b.top, c.top);
        if (w > 0 && h > 0 && w * h > 0.5 * Math.min(b.width * b.height, c.width * c.height)) lost.push(said + " on "
          + JSON.stringify(texts[j].textContent.trim().slice(0, 30)));
      }
    });
  }
  const lum = c => { const v = c.map(x => (x /= 255) <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
  const rgb = s => (s.match(/[\d.]+/g) || []).map(Number);
  const faint = new Map();
  for (const e of document.body.querySelectorAll("*")) {
    if (e.closest("svg, script, style") || !shown(e) || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    let back = null;
    for (let p = e; p && !back; p = p.parentElement) { const c = rgb(getComputedStyle(p).backgroundColor);
      if (c.length === 3 || c[3] > 0.99) back = c.slice(0, 3); }
    const a = lum(rgb(getComputedStyle(e).color).slice(0, 3)), b = lum(back || [255, 255, 255]);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faint.set(e.tagName + "." + e.className, name(e) + " " + ratio.toFixed(1));
  }
  return { scroll: document.documentElement.scrollWidth, inner: window.innerWidth, over: over.slice(0, 20), small, lost, cut,
    faint: [...faint.values()], least: least === Infinity ? null : least, figures: document.querySelectorAll("svg.plot").length,
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    height: Math.ceil(document.documentElement.getBoundingClientRect().height) };
})()
