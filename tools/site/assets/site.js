// SPDX-License-Identifier: MIT
"use strict";

(() => {
  const root = document.body.dataset.root;
  const html = document.documentElement;

  // ---- light and dark

  const system = () => (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const isDark = () => (html.dataset.theme || system()) === "dark";
  document.querySelector(".theme").addEventListener("click", () => {
    html.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("aio-theme", html.dataset.theme);
    } catch (e) {
      // a browser that keeps nothing for files
    }
  });

  // ---- the list of pages, where there is no room beside the text

  const menu = document.querySelector(".menu");
  const nav = document.getElementById("nav");
  menu.addEventListener("click", () => {
    const open = nav.classList.toggle("open");
    menu.setAttribute("aria-expanded", String(open));
    if (open) scrollTo(0, 0);
  });
  const here = nav.querySelector("[aria-current]");
  if (here && nav.scrollHeight > nav.clientHeight) nav.scrollTop = here.offsetTop - nav.clientHeight / 2;

  // ---- where the reader is

  const links = new Map();
  for (const a of document.querySelectorAll(".toc.wide a")) links.set(decodeURIComponent(a.hash.slice(1)), a);
  const heads = [...links.keys()].map((id) => document.getElementById(id)).filter(Boolean);
  let seen = null;
  const follow = () => {
    const last = heads.findLast((head) => head.getBoundingClientRect().top < 120);
    const link = last && links.get(last.id);
    if (link === seen) return;
    if (seen) seen.classList.remove("seen");
    seen = link;
    if (!seen) return;
    seen.classList.add("seen");
    const list = seen.closest(".toc");
    if (seen.offsetTop < list.scrollTop || seen.offsetTop > list.scrollTop + list.clientHeight - 60) {
      list.scrollTop = seen.offsetTop - list.clientHeight / 3;
    }
  };
  if (heads.length > 1 && heads.findLast) {
    addEventListener("scroll", () => requestAnimationFrame(follow), {passive: true});
    follow();
  }

  // ---- search

  const input = document.getElementById("search");
  const list = document.getElementById("results");
  let records = null;
  let chosen = -1;

  // The index is read when it is asked for; a script works from file://, too.
  const load = () => new Promise((done) => {
    if (records) return done();
    const script = document.createElement("script");
    script.src = root + "assets/index.js";
    script.onload = () => {
      records = records || aioSearch.prepare(window.aioIndex);
      done();
    };
    document.head.append(script);
  });

  const marked = (text, words) => {
    const span = document.createElement("span");
    const pattern = new RegExp(words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|"), "gi");
    let at = 0;
    for (const match of text.matchAll(pattern)) {
      if (!match[0]) continue;
      const mark = document.createElement("mark");
      mark.textContent = match[0];
      span.append(text.slice(at, match.index), mark);
      at = match.index + match[0].length;
    }
    span.append(text.slice(at));
    return span;
  };

  const line = (row, number) => {
    const item = document.createElement("li");
    item.id = `result-${number}`;
    item.setAttribute("role", "option");
    const link = document.createElement("a");
    link.href = root + row.url.replace(/#(.*)/, (_, anchor) => "#" + encodeURIComponent(anchor));
    link.tabIndex = -1;
    const words = aioSearch.wordsOf(input.value);
    const kind = Object.assign(document.createElement("span"), {className: "kind", textContent: row.kind});
    const title = marked(row.title, words);
    title.className = "found";
    const where = marked(aioSearch.excerpt(row.text, input.value), words);
    where.className = "where";
    if (row.page) where.prepend(`${row.page}: `);
    link.append(kind, title, where);
    item.append(link);
    return item;
  };

  const choose = (number) => {
    const options = list.querySelectorAll("[role=option]");
    if (options[chosen]) options[chosen].setAttribute("aria-selected", "false");
    chosen = options.length ? (number + options.length) % options.length : -1;
    if (chosen < 0) return input.removeAttribute("aria-activedescendant");
    options[chosen].setAttribute("aria-selected", "true");
    options[chosen].scrollIntoView({block: "nearest"});
    input.setAttribute("aria-activedescendant", options[chosen].id);
  };

  const show = (open) => {
    list.hidden = !open;
    input.setAttribute("aria-expanded", String(open));
  };

  const answer = async () => {
    await load();
    const found = aioSearch.find(records, input.value);
    list.replaceChildren(...found.map(line));
    if (!found.length) {
      const none = Object.assign(document.createElement("li"), {className: "none"});
      none.textContent = "Nothing of that name or in the text.";
      list.append(none);
    }
    show(input.value.trim() !== "");
    chosen = -1;
    choose(0);
  };

  input.addEventListener("input", answer);
  input.addEventListener("focus", () => {
    load();
    if (input.value.trim()) answer();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) answer();
      else choose(chosen + (event.key === "ArrowDown" ? 1 : -1));
    } else if (event.key === "Enter") {
      const link = list.querySelectorAll("[role=option] a")[chosen];
      if (link && !list.hidden) {
        event.preventDefault();
        show(false);
        location.href = link.href;
      }
    } else if (event.key === "Escape") {
      if (list.hidden) input.blur();
      show(false);
    }
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || event.target.isContentEditable;
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      input.focus();
      input.select();
    }
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest(".search")) show(false);
  });
  list.addEventListener("click", () => show(false));

  const asked = new URLSearchParams(location.search).get("q");
  if (asked) {
    input.value = asked;
    input.focus();
    answer();
  }
})();
