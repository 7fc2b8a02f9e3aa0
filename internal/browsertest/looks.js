// What can be measured of a page: each function returns what is wrong, a line for each.
window.looks = (() => {
  const all = (sel, from = document) => [...from.querySelectorAll(sel)];
  const style = (el, part) => getComputedStyle(el, part);
  const box = el => el.getBoundingClientRect();
  const name = el => `${el.tagName.toLowerCase()}${el.id && "#" + el.id}${[...el.classList].map(c => "." + c).join("")} “${(el.getAttribute("aria-label") || el.innerText || el.value || el.name || "").trim().replace(/\s+/g, " ").slice(0, 60)}”`;
  // What is there for screen readers alone, or waits for focus, is not seen.
  const seen = el => el.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && box(el).width > 1 && box(el).right > 0 && !el.closest(".hidden");
  const controls = from => all("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]", from).filter(seen);

  // WCAG 2.2: relative luminance and contrast ratio, 1 to 21.
  const colour = s => { const [r, g, b, a = 1] = s.match(/[\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3]));
  const luminance = c => [0.2126, 0.7152, 0.0722].reduce((sum, w, i) => sum + w * (c[i] / 255 <= 0.04045 ? c[i] / 255 / 12.92 : ((c[i] / 255 + 0.055) / 1.055) ** 2.4), 0);
  const ratio = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const behind = el => {
    const layers = [];
    for (let e = el; e; e = e.parentElement) {
      layers.unshift(colour(style(e).backgroundColor));
      if (layers[0][3] === 1) break;
    }
    return layers.reduce((under, top) => over(top, under), [255, 255, 255]);
  };

  const contrast = () => {
    const out = new Map();
    const look = (el, what, ink, paper, least) => {
      const r = ratio(over(colour(ink), paper), paper);
      if (r < least) out.set(`${what} ${ink} ${paper} ${least}`, `${what} of ${name(el)} has a contrast of ${r.toFixed(2)}, not ${least}`);
    };
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const el = texts.currentNode.parentElement;
      if (!texts.currentNode.data.trim() || !seen(el) || el.closest("svg, option")) continue;
      const s = style(el), size = parseFloat(s.fontSize), large = size >= 24 || size >= 18.66 && s.fontWeight >= 700;
      look(el, "the text", s.color, behind(el), large ? 3 : 4.5);
    }
    for (const el of all("input:not([type=hidden]), select, textarea, button").filter(seen)) {
      const s = style(el), own = behind(el), around = behind(el.parentElement);
      if (el.placeholder) look(el, "the placeholder", style(el, "::placeholder").color, own, 4.5);
      if (el.type !== "checkbox" && ratio(own, around) < 3) look(el, "the edge", s.borderTopColor, around, 3);
    }
    return [...out.values()];
  };

  // A target is large enough, or a link in a line of text.
  const targets = () => controls().filter(el => {
    const r = box(el);
    if (r.width >= 23.9 && r.height >= 23.9) return false;
    if (el.tagName !== "A" || style(el).display !== "inline") return true;
    const line = (el.closest("p, li, td, th, dd, dt, h1, h2, h3, label") ?? el).cloneNode(true);
    all("a, button, form, .hidden", line).forEach(x => x.remove());
    return !/\p{L}{2}/u.test(line.textContent);
  }).map(el => `${name(el)} is ${Math.round(box(el).width)}×${Math.round(box(el).height)}`);

  // Nothing goes beyond the page; tables scroll in their own box.
  const overflow = () => {
    const out = [], page = document.documentElement, main = document.querySelector("#main");
    if (page.scrollWidth > page.clientWidth) out.push(`the page is ${page.scrollWidth} wide, and ${page.clientWidth} are seen`);
    if (main.scrollWidth > main.clientWidth) out.push(`#main is ${main.scrollWidth} wide, and ${main.clientWidth} are seen`);
    const inside = el => { const b = el.parentElement.closest(".scroll, pre.long"); return b && style(b).overflowX !== "visible"; };
    const wide = all("body *").filter(el => seen(el) && box(el).right > page.clientWidth + 1 && !inside(el));
    out.push(...wide.slice(0, 5).map(el => `${name(el)} ends at ${Math.round(box(el).right)} of ${page.clientWidth}`));
    const pen = document.createElement("canvas").getContext("2d");
    for (const el of controls()) {
      const s = style(el), room = el.clientWidth - parseFloat(s.paddingLeft) - parseFloat(s.paddingRight);
      pen.font = s.font;
      if (el.placeholder && el.tagName === "INPUT" && pen.measureText(el.placeholder).width > room + 1) out.push(`the placeholder of ${name(el)} is cut`);
      if (el.tagName === "BUTTON" && el.scrollWidth > el.clientWidth + 1) out.push(`${name(el)} is cut`);
    }
    return out;
  };

  // Where there is room, tables are whole and words are not broken.
  const whole = () => {
    const out = all(".scroll").filter(el => el.scrollWidth > el.clientWidth + 1).map(el => `a table is ${el.scrollWidth} wide, and ${el.clientWidth} are seen: ${name(el)}`);
    const range = document.createRange();
    for (const el of all("h1, h2, h3, td, th, dt, dd, button, .filters").filter(seen)) {
      const texts = document.createTreeWalker(el, NodeFilter.SHOW_TEXT);
      while (texts.nextNode()) {
        const text = texts.currentNode;
        if (text.parentElement.closest("h1, h2, h3, td, th, dt, dd, button, .filters") !== el || !seen(text.parentElement)) continue;
        for (const run of text.data.matchAll(/\S+/g)) {
          if (run[0].length > 24) continue; // it breaks where it must
          // The name of something may break at no hyphen of it either, unless it is long.
          const named = text.parentElement.closest("td:not(.foreign) a") || run[0].length <= 12 && text.parentElement.closest("td a");
          for (const word of run[0].matchAll(named ? /[\w.:-]+/g : /[\w.:]+/g)) {
            range.setStart(text, run.index + word.index);
            range.setEnd(text, run.index + word.index + word[0].length);
            if (new Set([...range.getClientRects()].map(r => Math.round(r.top))).size > 1) out.push(`${word[0]} is broken in ${name(el)}`);
          }
        }
      }
    }
    return out;
  };

  // From here on Tab is followed; returns how often to press it to be through #main.
  const follow = () => {
    const main = document.querySelector("#main"), list = controls(main);
    window.followed = { list, at: new Set(), wrong: [] };
    document.addEventListener("focusin", ({ target: el }) => {
      followed.at.add(el);
      const s = style(el), width = parseFloat(s.outlineWidth), r = box(el);
      if (s.outlineStyle === "none" || width < 2) followed.wrong.push(`the focus on ${name(el)} is not seen`);
      else if (ratio(colour(s.outlineColor), behind(el.parentElement)) < 3) followed.wrong.push(`the focus on ${name(el)} is hardly seen`);
      if (r.width <= 1 || r.right <= 0) followed.wrong.push(`${name(el)} has the focus and is not seen`);
    });
    return [String(list.length + all(".scroll, pre", main).length + 4 * all("input[type=date]", main).length + 2)];
  };
  const lost = () => {
    const { list, at, wrong } = followed;
    return [...wrong, ...list.filter(el => !at.has(el)).map(el => `Tab does not reach ${name(el)}`)];
  };

  return { contrast, targets, overflow, whole, follow, lost };
})();
