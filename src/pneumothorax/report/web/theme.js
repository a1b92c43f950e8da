// Light or dark: the system's choice until the button is used; remembered where the browser lets a page.
"use strict";

{
  const KEY = "pneumothorax-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");

  const remembered = () => {
    try { return localStorage.getItem(KEY); } catch { return null; }
  };
  const remember = (theme) => {
    try { localStorage.setItem(KEY, theme); } catch { /* a page opened from disk may have no storage */ }
  };

  let chosen = remembered();

  function show() {
    const dark = chosen ? chosen === "dark" : system.matches;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    const button = document.getElementById("theme");
    if (button) button.setAttribute("aria-pressed", String(dark));
  }

  show();
  system.addEventListener("change", show);
  document.addEventListener("DOMContentLoaded", () => {
    show();
    document.getElementById("theme").addEventListener("click", () => {
      chosen = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
      remember(chosen);
      show();
    });
  });
}
