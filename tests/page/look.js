// What look.py asks of a page that is open. Scripts of the driver run although the page forbids all others.

const all = (selector) => [...document.querySelectorAll(selector)];
const shown = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
const named = (element) => `${element.tagName.toLowerCase()} ${(element.getAttribute("aria-label") || element.textContent).trim().slice(0, 60)}`;
// For ears only: as small as a point.
const unseen = (element) => element.closest(".hidden") !== null || element.getBoundingClientRect().width <= 1;

// [kind, what] of all that is wrong with what is drawn.
function faults(bars) {
  return [...general(), ...widths(), ...contrasts(), ...headings(), ...overlaps(), ...misplaced(bars)];
}

function* general() {
  if (document.documentElement.lang !== "en") yield ["language", "the page does not say which it is in"];
  if (!document.title) yield ["title", "the page has none"];
}

function* widths() {
  const { scrollWidth, clientWidth } = document.scrollingElement;
  if (scrollWidth > clientWidth) yield ["overflow", `the page is ${scrollWidth} wide, and the screen ${clientWidth}`];
  for (const element of all("body *")) {
    const box = element.getBoundingClientRect();
    if (shown(element) && !unseen(element) && !element.closest(".skip, pre, svg") && (box.left < -1 || box.right > clientWidth + 1)) {
      yield ["overflow", `${named(element)} is from ${box.left} to ${box.right}`];
    }
  }
}

const parsed = (color) => {
  const numbers = color.match(/[\d.]+/g).map(Number);
  return numbers.length === 3 ? [...numbers, 1] : numbers;
};
const over = (top, below) => top.slice(0, 3).map((value, i) => value * top[3] + below[i] * (1 - top[3]));
const luminance = (rgb) => {
  const [r, g, b] = rgb.map((value) => value / 255).map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};

// What is behind an element's text, as far as it is one colour.
function behind(element) {
  const layers = [];
  for (let at = element; at; at = at.parentElement) layers.push(parsed(getComputedStyle(at).backgroundColor));
  return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
}

function* contrasts() {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const text = texts.currentNode.textContent.trim();
    if (!text || seen.has(element) || !shown(element) || unseen(element) || element.closest("style, svg")) continue;
    seen.add(element);
    const ground = behind(element);
    const color = over(parsed(getComputedStyle(element).color), ground);
    const [light, dark] = [luminance(color), luminance(ground)].sort((a, b) => b - a);
    const contrast = (light + 0.05) / (dark + 0.05);
    if (contrast < 4.5) yield ["contrast", `${contrast.toFixed(2)} for ${text.slice(0, 60)}`];
  }
}

function* headings() {
  let last = 0;
  for (const heading of all("h1, h2, h3, h4, h5, h6")) {
    const level = Number(heading.tagName[1]);
    if (!heading.textContent.trim()) yield ["heading", `one of level ${level} is empty`];
    if (level > last + 1) yield ["heading", `${named(heading)} follows one of level ${last}`];
    last = level;
  }
  if (all("h1").length !== 1) yield ["heading", "there is to be one h1"];
}

// Labels of an axis that touch each other, and labels of bars that are cut.
function* overlaps() {
  for (const axis of all(".axis, .breaks, .scale, .days")) {
    const labels = [...axis.children].filter(shown).map((label) => [label, label.getBoundingClientRect()]);
    for (const [i, [first, a]] of labels.entries()) {
      for (const [second, b] of labels.slice(i + 1)) {
        const apart = a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
        if (!apart) yield ["overlap", `${first.textContent} and ${second.textContent}`];
      }
    }
  }
  for (const label of all(".bar .label").filter(shown)) {
    if (label.scrollWidth > label.clientWidth) yield ["overlap", `${label.textContent} is cut`];
  }
}

function* misplaced(bars) {
  const tracks = new Map(all(".track").map((track) => [track.querySelector("strong").textContent, track.querySelector(".lane")]));
  const left = new Map([...tracks].map(([name, lane]) => [name, [...lane.querySelectorAll(".bar")]]));
  for (const wanted of bars) {
    const lane = tracks.get(wanted.track)?.getBoundingClientRect();
    const box = left.get(wanted.track)?.shift()?.getBoundingClientRect();
    if (!box) {
      yield ["bar", `one of ${wanted.track} is missing`];
      continue;
    }
    const is = [box.left, box.right].map((x) => ((x - lane.left) * 100) / lane.width);
    // A bar is at least two pixels wide.
    const room = 250 / lane.width;
    if (Math.abs(is[0] - wanted.left) > room || Math.abs(is[1] - wanted.right) > room) {
      yield ["bar", `one of ${wanted.track} is from ${is[0]} to ${is[1]}, and belongs from ${wanted.left} to ${wanted.right}`];
    }
  }
  if (bars.length) for (const [name, more] of left) if (more.length && bars.some((bar) => bar.track === name)) yield ["bar", `one too many of ${name}`];
}

// What the bars and marks say to a mouse that rests on them.
function told() {
  return all(".track [title]").map((element) => element.title);
}

// What the Tab key has to reach, in the page's order, once everything is open.
function focusable() {
  all("details").forEach((details) => (details.open = true));
  return all("a[href], button, input, summary, [tabindex='0'], [tabindex='1'], [tabindex='2']").filter(shown).map(named);
}

function watch() {
  window.scrollTo(0, 0);
  document.activeElement.blur();
  window.had = [];
  document.addEventListener("focusin", ({ target }) => {
    const { outlineStyle, outlineWidth } = getComputedStyle(target);
    const box = target.getBoundingClientRect();
    window.had.push([named(target), outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 && box.top >= 0 && box.right > 0]);
  });
}

function watched() {
  return window.had;
}

// What a reader of paper cannot scroll to.
function* fits() {
  for (const pre of all("pre").filter(shown)) {
    if (pre.scrollHeight > pre.clientHeight + 2 || pre.scrollWidth > pre.clientWidth + 2) yield `not all of it fits: ${named(pre)}`;
  }
}

function unprintable() {
  all("details").forEach((details) => (details.open = true));
  const faults = [...fits()];
  all("details").forEach((details) => (details.open = false));
  if (luminance(behind(document.body)) < 0.95) faults.push("the paper is not white");
  for (const bar of all(".bar, .swatch")) {
    if (getComputedStyle(bar).printColorAdjust !== "exact") faults.push(`a bar loses its colour: ${named(bar)}`);
  }
  for (const element of all("nav, .skip").filter(shown)) faults.push(`no use on paper: ${named(element)}`);
  return [...faults, ...[...contrasts()].map(([, what]) => `contrast ${what}`)];
}
