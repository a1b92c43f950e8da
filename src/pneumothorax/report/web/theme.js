// Light or dark: the system's choice until the button is used; remembered where the browser lets a page.
"use strict";

{
  const KEY = "pneumothorax-theme";
  const system = matchMedia("(prefers-color-scheme: dark)");

  const remembered = () => {
    try { return localStorage.getItem(KEY); } catch { return null; }
  };
  const remember = (theme) => {
    try {
      if (theme) localStorage.setItem(KEY, theme); else localStorage.removeItem(KEY);
    } catch { /* a page opened from disk may have no storage */ }
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
      const wanted = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
      chosen = wanted === (system.matches ? "dark" : "light") ? null : wanted; // as the system: follow it
      remember(chosen);
      show();
    });
  });
}
