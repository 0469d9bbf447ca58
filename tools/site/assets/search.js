// SPDX-License-Identifier: MIT
// What the search finds. A record is [title, kind, address, text, page]; names come before text.
"use strict";

const aioSearch = (() => {
  const ofKind = {class: 13, function: 13, type: 13, concept: 12, enumeration: 13, constant: 12, macro: 9, operator: 2,
    enumerator: 6, fact: 6, page: 8, header: 7, section: 4, elsewhere: 3};

  const lower = (text) => text.toLowerCase();
  // As people write it: aio::gather(), std::move
  const wordsOf = (query) => lower(query).replace(/\baio::/g, "").replace(/\(\)/g, "").split(/\s+/).filter(Boolean);

  // How well a word fits a title: as the whole, its last name, a beginning, the beginning of a part, somewhere.
  const fit = (title, word) => {
    const last = title.slice(title.lastIndexOf("::") + 1).replace(/^:/, "");
    if (title === word) return 98;
    if (last === word) return 95;
    if (last.replaceAll("_", "") === word.replaceAll("_", "")) return 94;  // as asyncio writes it: TaskGroup
    if (title.startsWith(word)) return 80;
    if (last.startsWith(word)) return 76;
    const at = title.indexOf(word);
    if (at < 0) return 0;
    return /[a-z0-9]/.test(title[at - 1]) ? 35 : 60;
  };

  const scoreOf = (record, words, whole) => {
    const title = record.title;
    let sum = 0;
    for (const word of words) {
      const good = fit(title, word);
      if (good === 0 && !record.text.includes(word)) return 0;
      sum += good || 8;
    }
    sum /= words.length;
    if (words.length > 1 && title.includes(whole)) sum = Math.max(sum, fit(title, whole));
    else if (words.length > 1 && record.text.includes(whole)) sum += 6;
    if (record.url.includes(`/${title}.html#`)) sum += 1;  // that in the header of its name
    return sum + (sum > 30 ? ofKind[record.kind] || 0 : (ofKind[record.kind] || 0) / 4);
  };

  const prepare = (rows) => rows.map(([title, kind, url, text, page]) =>
    ({title: lower(title), text: lower(text), kind, url, row: {title, kind, url, text, page}}));

  const find = (records, query, most = 12) => {
    const words = wordsOf(query);
    if (words.length === 0) return [];
    const whole = words.join(" ");
    const found = [];
    records.forEach((record, order) => {
      const score = scoreOf(record, words, whole);
      if (score > 0) found.push({score, order, record});
    });
    found.sort((a, b) => b.score - a.score || a.record.title.length - b.record.title.length || a.order - b.order);
    return found.slice(0, most).map(({record}) => record.row);
  };

  // The words around the first that was found
  const excerpt = (text, query) => {
    const places = wordsOf(query).map((word) => lower(text).indexOf(word)).filter((at) => at >= 0);
    const first = places.length ? Math.min(...places) : 0;
    const begin = first < 50 ? 0 : text.indexOf(" ", first - 40) + 1;
    return (begin > 0 ? "… " : "") + text.slice(begin, begin + 160);
  };

  return {prepare, find, excerpt, wordsOf};
})();

if (typeof module !== "undefined") module.exports = aioSearch;
