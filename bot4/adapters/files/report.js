"use strict";
// A cross-hair with the values at its place. Without it the page loses nothing but this.
for (const figure of document.querySelectorAll("figure.chart")) {
  const source = figure.querySelector("script");
  if (!source) continue;
  const data = JSON.parse(source.textContent);
  const area = figure.querySelector(".area");
  const hair = area.appendChild(document.createElement("div"));
  const tip = area.appendChild(document.createElement("div"));
  hair.className = "hair";
  tip.className = "tip";
  const nearest = (xs, x) => {
    let low = 0, high = xs.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (xs[middle] < x) low = middle; else high = middle;
    }
    return x - xs[low] < xs[high] - x ? low : high;
  };
  const lastBefore = (xs, x) => {
    let low = -1, high = xs.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (xs[middle] <= x) low = middle; else high = middle;
    }
    return low;
  };
  const show = event => {
    const box = area.getBoundingClientRect();
    const ratio = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    const x = ratio * data.span;
    const lines = [new Date(data.start + x * 1000).toISOString().slice(0, 19).replace("T", " ") + " UTC"];
    for (const one of data.series) {
      if (!one.x.length) continue;
      const at = one.step ? lastBefore(one.x, x) : nearest(one.x, x);
      if (at < 0) continue;
      const value = one.y[at].toLocaleString("en-US", { minimumFractionDigits: one.digits, maximumFractionDigits: one.digits });
      lines.push(one.name + " " + value + one.unit);
    }
    const reach = data.span * 7 / box.width;
    let near = 0;
    for (const mark of data.marks || []) {
      if (Math.abs(mark[0] - x) > reach) continue;
      if (++near <= 6) lines.push(mark[1]);
    }
    if (near > 6) lines.push("and " + (near - 6) + " more fills");
    tip.textContent = lines.join("\n");
    hair.style.display = tip.style.display = "block";
    hair.style.left = ratio * box.width + "px";
    const left = ratio * box.width;
    tip.style.left = (left > box.width / 2 ? Math.max(0, left - tip.offsetWidth - 10) : left + 10) + "px";
  };
  area.addEventListener("pointermove", show);
  area.addEventListener("pointerdown", show);
  area.addEventListener("pointerleave", () => { hair.style.display = tip.style.display = "none"; });
}
