// SPDX-License-Identifier: MIT
// check_search.js SITE: what the search of a built site finds first.
"use strict";

const fs = require("fs");
const path = require("path");

const site = process.argv[2];
const index = path.join(site, "assets/index.js");
if (!fs.existsSync(index)) {
  console.log("there is no site: it was not built");
  process.exit(77);
}
const search = require(path.resolve(site, "assets/search.js"));
globalThis.window = {};
require(path.resolve(index));
const records = search.prepare(window.aioIndex);

// [what is typed, the title that comes first, its kind or the beginning of its address]
const wanted = [
  ["gather", "gather", "reference/gather.html"],
  ["TaskGroup", "task_group", "reference/task_group.html"],
  ["taskgroup", "task_group", "reference/task_group.html"],
  ["wait_for", "wait_for", "reference/timeout.html"],
  ["aio::wait_for()", "wait_for", "reference/timeout.html"],
  ["create_task", "create_task", "reference/task_handle.html"],
  ["GA-7", "GA-7", "semantics.html#GA-7"],
  ["ga-7", "GA-7", "semantics.html#GA-7"],
  ["D9", "D9", "readme.html#D9"],
  ["shutd", "queue::shutdown", "reference/queue.html#queue::shutdown"],
  ["stream_reader::readl", "stream_reader::readline", "reference/stream.html"],
  ["semaphore release", "semaphore::release", "reference/semaphore.html"],
  ["nursery", "nursery", "names.html#row-"],
  ["ten minutes", "Ten minutes", "ten-minutes.html"],
  ["testing::run", "testing::run", "reference/testing/virtual_clock.html"],
  ["wait_all_tasks_blocked", "wait_all_tasks_blocked", "names.html"],
];
let bad = 0;
for (const [typed, title, url] of wanted) {
  const found = search.find(records, typed);
  if (!found.length || found[0].title !== title || !found[0].url.startsWith(url)) {
    bad += 1;
    const rows = found.map((row) => `${row.title} (${row.kind}, ${row.url})`);
    console.log(`${typed}: ${title} should come first: ${rows.join("; ")}`);
  }
}
const text = search.find(records, "happy eyeballs");
if (!text.length) {
  bad += 1;
  console.log("happy eyeballs: nothing is found in the text");
}
if (search.find(records, "  ").length || search.find(records, "qqqqqq").length) {
  bad += 1;
  console.log("something is found for nothing");
}
process.exit(bad ? 1 : 0);
