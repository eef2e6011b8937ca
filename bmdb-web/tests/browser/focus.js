// The element that has the focus, and whether the focus is visible.
const at = document.activeElement;
if (!at || at === document.body) return null;
const style = getComputedStyle(at);
const isOutlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
const place = at.closest("nav") ? "nav" : at.closest("table") ? "table" : at.closest("form") ? "form" : "page";
return {
  place,
  what: `<${at.tagName.toLowerCase()}> ${(at.textContent || at.name || at.id || "").trim().slice(0, 40)}`,
  leads: at.pathname || "",
  visible: isOutlined || style.boxShadow !== "none",
};
