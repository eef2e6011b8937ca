// Checks the page as it is painted now, and returns an array of sentences that say what is wrong. WebDriver
// passes the smallest size of text in pixels in `arguments`.
const smallest = arguments[0];
const wrong = [];
// Finishes colour transitions.
for (const element of document.querySelectorAll("*")) getComputedStyle(element).color;
for (const animation of document.getAnimations()) animation.finish();
const canvas = document.createElement("canvas");
canvas.width = canvas.height = 1;
const pen = canvas.getContext("2d", { willReadFrequently: true });

// Any CSS colour as red, green, blue and opacity.
function rgba(colour) {
  pen.clearRect(0, 0, 1, 1);
  pen.fillStyle = colour;
  pen.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
}

function over(top, below) {
  const mix = (nth) => top[nth] * top[3] + below[nth] * (1 - top[3]);
  return [mix(0), mix(1), mix(2), 1];
}

function behind(element) {
  const layers = [];
  for (let at = element; at; at = at.parentElement) {
    const style = getComputedStyle(at);
    if (style.backgroundImage !== "none") return null;
    const colour = rgba(style.backgroundColor);
    if (colour[3] > 0) layers.push(colour);
    if (colour[3] === 1) break;
  }
  // Where nothing is painted, the canvas shows through in the scheme's colour.
  let below = rgba("Canvas");
  for (const layer of layers.reverse()) below = over(layer, below);
  return below;
}

function luminance([r, g, b]) {
  const linear = [r, g, b].map((part) => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}

function contrast(one, other) {
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

function name(element) {
  const kind = element.className && element.className.baseVal === undefined ? `.${element.className}` : "";
  return `<${element.tagName.toLowerCase()}${kind}>`;
}

function isShown(element) {
  if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return false;
  const box = element.getBoundingClientRect();
  // Content for screen readers only is one pixel large.
  return box.width > 1 && box.height > 1;
}

const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const seen = new Set();
while (texts.nextNode()) {
  const text = texts.currentNode.textContent.trim();
  const element = texts.currentNode.parentElement;
  if (!text || !isShown(element) || element.closest("script, style, noscript, [disabled]")) continue;
  const style = getComputedStyle(element);
  const isDrawn = element instanceof SVGElement;
  const below = behind(element);
  if (!below) {
    wrong.push(`“${text}” in ${name(element)} is written on an image`);
    continue;
  }
  const colour = over(rgba(isDrawn ? style.fill : style.color), below);
  const size = parseFloat(style.fontSize);
  const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  const ratio = contrast(colour, below);
  const sentence = `${name(element)}: contrast ${ratio.toFixed(2)}, as in “${text.slice(0, 40)}”`;
  if (ratio < (isLarge ? 3 : 4.5) && !seen.has(name(element))) {
    seen.add(name(element));
    wrong.push(sentence);
  }
  if (!isDrawn && size < smallest) wrong.push(`${name(element)}: text of ${size} px`);
}

const width = document.documentElement.clientWidth;
if (document.documentElement.scrollWidth > width) {
  const beyond = [...document.querySelectorAll("body *")].filter((element) => {
    if (element.getBoundingClientRect().right <= width + 1) return false;
    // Tables may be wider than the page inside a box that scrolls.
    for (let at = element.parentElement; at && at !== document.body; at = at.parentElement) {
      if (getComputedStyle(at).overflowX !== "visible") return false;
    }
    return true;
  });
  wrong.push(`wider than ${width} px: ${beyond.slice(0, 3).map(name).join(", ")}`);
}
return wrong;
