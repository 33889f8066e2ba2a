// Lists and searches the packages that the page holds as data (data.rs tells its form). Makes elements only for
// what is looked at, and puts in what comes from packages as text alone.
(() => {
  "use strict";
  const began = performance.now();
  const at = (id) => document.getElementById(id);
  const data = JSON.parse(at("data").textContent);
  const { texts } = data;
  const ofSubdir = data.kind === "subdir";
  const CHUNK = 60;
  const CONDA = 1, REVOKED = 2;
  // The columns of a row: of a file on a subdir's page, of a subdir on the channel's.
  const F = { version: 0, build: 1, flags: 2, size: 3, indexed: 4, built: 5, license: 6, key: 7 };
  const S = { subdir: 0, version: 1, files: 2, size: 3, checked: 4, unverified: 5, unsigned: 6, indexed: 7 };
  const WIDTH = 8;
  const table = ofSubdir ? data.files : data.rows;
  const cell = (row, column) => table[row * WIDTH + column];
  const STATES = {
    checked: "checked",
    unverified: "unknown key",
    unsigned: "unsigned",
    revoked: "revoked",
  };

  // What is shown.

  const make = (tag, className, ...children) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...children.filter((child) => child !== null && child !== ""));
    return element;
  };
  const number = (value) => String(value).replace(/\B(?=(\d{3})+$)/g, ",");
  const several = (value, one, many) => `${number(value)} ${value === 1 ? one : many}`;
  const size = (bytes) => {
    if (bytes < 1000) return `${bytes} B`;
    let tenths = Math.floor(bytes / 100), unit = 0;
    for (; tenths >= 10000 && unit < 4; unit++) tenths = Math.floor(tenths / 1000);
    return `${Math.floor(tenths / 10)}.${tenths % 10} ${["kB", "MB", "GB", "TB", "PB"][unit]}`;
  };
  const utc = (seconds) => new Date(seconds * 1000).toISOString();
  const day = (seconds) => (seconds ? utc(seconds).slice(0, 10) : "");
  const moment = (seconds) => `${utc(seconds).slice(0, 19).replace("T", " ")} UTC`;
  const link = (address, ...children) => {
    const element = make("a", "", ...children);
    let url = null;
    try {
      url = new URL(address, location.href);
    } catch {
      // It stays a text.
    }
    if (url && ["http:", "https:", location.protocol].includes(url.protocol)) element.href = address;
    return element;
  };

  const binary = ofSubdir ? atob(data.sha256) : "";
  const sha256 = (row) => {
    let hex = "";
    for (let i = row * 32; i < row * 32 + 32; i++) {
      hex += binary.charCodeAt(i).toString(16).padStart(2, "0");
    }
    return /^0+$/.test(hex) ? "" : hex;
  };
  const extension = (row) => (cell(row, F.flags) & CONDA ? ".conda" : ".tar.bz2");
  const fileName = (p, row) =>
    data.names[row] ?? `${p.name}-${texts[cell(row, F.version)]}-${texts[cell(row, F.build)]}${extension(row)}`;
  const isRevoked = (row) => (cell(row, F.flags) & REVOKED) !== 0;
  const keyOf = (row) => data.keys[cell(row, F.key) - 1];
  const stateOf = (row) => (keyOf(row) ? (keyOf(row)[1] ? "checked" : "unverified") : "unsigned");
  const rowHas = (row, state) => {
    if (!ofSubdir) return cell(row, S[state]) > 0;
    return state === "revoked" ? isRevoked(row) : stateOf(row) === state;
  };

  // The packages: each has the rows from `first` up to `end`.

  const packages = [];
  const per = ofSubdir ? 4 : 6;
  for (let i = 0, first = 0; i < data.packages.length; i += per) {
    const [name, summary, home] = data.packages.slice(i, i + 3).map((text) => texts[text]);
    const end = first + data.packages[i + per - 1];
    const p = { name, summary, home, first, end, files: 0, size: 0, indexed: 0, place: packages.length };
    const counts = { checked: 0, unverified: 0, unsigned: 0, revoked: 0 };
    for (let row = first; row < end; row++) {
      p.size += cell(row, F.size);
      p.indexed = Math.max(p.indexed, cell(row, ofSubdir ? F.indexed : S.indexed));
      p.files += ofSubdir ? 1 : cell(row, S.files);
      if (ofSubdir) {
        counts[stateOf(row)]++;
        if (isRevoked(row)) counts.revoked++;
      } else {
        for (const state of ["checked", "unverified", "unsigned"]) counts[state] += cell(row, S[state]);
      }
    }
    p.version = texts[ofSubdir ? cell(first, F.version) : data.packages[i + 3]];
    p.license = texts[ofSubdir ? cell(first, F.license) : data.packages[i + 4]];
    p.counts = counts;
    packages.push(p);
    first = end;
  }

  // Search: every word has to be found, in what the package says or in what one row says.

  let found = [], shown = 0;
  const ofPackage = (p) =>
    (p.text ??= [p.name, p.summary, ofSubdir ? "" : `${p.license}\n${p.version}`].join("\n").toLowerCase());
  const rowTexts = [];
  const ofRow = (p, row) =>
    (rowTexts[row] ??= (ofSubdir
      ? `${fileName(p, row)}\n${p.name}-${texts[cell(row, F.version)]}-${texts[cell(row, F.build)]}\n${texts[cell(row, F.license)]}`
      : `${data.subdirs[cell(row, S.subdir)]}\n${texts[cell(row, S.version)]}`
    ).toLowerCase());
  // A word of six hexadecimal digits and more may be the beginning of a digest.
  const digestTest = (word) => {
    const hex = word.replace(/^sha256:/, "");
    if (!ofSubdir || !/^[0-9a-f]{6,64}$/.test(hex)) return () => false;
    const first = parseInt(hex.slice(0, 2), 16), second = parseInt(hex.slice(2, 4), 16);
    return (row) =>
      binary.charCodeAt(row * 32) === first &&
      binary.charCodeAt(row * 32 + 1) === second &&
      sha256(row).startsWith(hex);
  };
  // The matching rows of a package: null for all of them, none for no match.
  const matching = (p, words, state) => {
    const open = words.filter(({ word }) => !ofPackage(p).includes(word));
    if (state && !p.counts[state]) return [];
    if (!open.length && (!state || p.counts[state] === p.files)) return null;
    const rows = [];
    for (let row = p.first; row < p.end; row++) {
      const matches = open.every(({ word, isDigest }) => ofRow(p, row).includes(word) || isDigest(row));
      if (matches && (!state || rowHas(row, state))) rows.push(row);
    }
    return rows.length === p.end - p.first ? null : rows;
  };
  const ORDERS = { new: (p) => -p.indexed, size: (p) => -p.size };
  const search = (query, state, order) => {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const tests = words.map((word) => ({ word, isDigest: digestTest(word) }));
    found = [];
    for (const p of packages) {
      const rows = matching(p, tests, state);
      if (rows === null || rows.length) found.push({ p, rows });
    }
    // The name that was asked for comes first, then names that begin so.
    const rank = ({ name }) => {
      const lower = name.toLowerCase();
      return lower === words[0] ? 0 : lower.startsWith(words[0]) ? 1 : lower.includes(words[0]) ? 2 : 3;
    };
    const key = ORDERS[order] ?? (words.length ? rank : (p) => p.place);
    for (const one of found) one.key = key(one.p);
    found.sort((a, b) => a.key - b.key || a.p.place - b.p.place);
  };

  // Rows.

  const badge = (state, text) => make("span", `badge ${state}`, text);
  const stateBadges = (p) => {
    const one = Object.keys(STATES).filter((state) => p.counts[state]);
    const text = (state) => (p.counts[state] === p.files ? STATES[state] : `${number(p.counts[state])} ${STATES[state]}`);
    return make("span", "states", ...one.map((state) => badge(state, text(state))));
  };
  const labelled = (className, label, ...children) =>
    make("span", className, make("span", "label", `${label} `), ...children);
  const isolated = (text, className) => make("bdi", className, text);

  const copyButton = (text, what) => {
    const button = make("button", "copy", "copy");
    button.type = "button";
    button.setAttribute("aria-label", `Copy the SHA-256 of ${what}`);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "copied";
      } catch {
        // Where scripts may not write to the clipboard, the digits are selected for the user to copy.
        getSelection().selectAllChildren(button.previousSibling);
        button.textContent = "selected";
      }
      setTimeout(() => (button.textContent = "copy"), 1500);
    });
    return button;
  };

  const td = (label, ...children) => {
    const element = make("td", "", ...children);
    element.dataset.label = label;
    return element;
  };
  const head = (names) => {
    const cells = names.map((name) => {
      const th = make("th", "", name);
      th.scope = "col";
      return th;
    });
    return make("thead", "", make("tr", "", ...cells));
  };

  const signature = (row, name) => {
    const state = stateOf(row), key = keyOf(row);
    const element = td("Signature", badge(state, STATES[state]));
    if (key) {
      const by = make("span", "by", " ", isolated(key[0]));
      by.title = key[1] ? `Key ${key[0]}, fingerprint ${key[1]}` : "This key was not there to check the signature";
      element.append(by, " ");
      const sig = link(`${encodeURIComponent(name)}.sig`, ".sig");
      sig.setAttribute("aria-label", `Signature of ${name}`);
      element.append(sig);
    }
    if (isRevoked(row)) element.append(" ", badge("revoked", "revoked"));
    return element;
  };
  const fileRow = (p, row, previous) => {
    const name = fileName(p, row), hex = sha256(row), version = texts[cell(row, F.version)];
    const parts = [isolated(texts[cell(row, F.build)] || name, "build"), make("span", "soft", extension(row))];
    const file = data.base === null ? make("span", "", ...parts) : link(data.base + encodeURIComponent(name), ...parts);
    file.title = name;
    const indexed = td("Indexed", day(cell(row, F.indexed)));
    const [first, built] = [cell(row, F.indexed), cell(row, F.built)];
    const times = [first && `Indexed ${moment(first)}`, built && `Built ${moment(built)}`];
    indexed.title = times.filter(Boolean).join("\n");
    const bytes = td("Size", size(cell(row, F.size)));
    bytes.title = `${number(cell(row, F.size))} bytes`;
    const digest = td("SHA-256");
    if (hex) digest.append(make("code", "sha256", hex), copyButton(hex, name));
    const repeated = previous !== null && texts[cell(previous, F.version)] === version;
    const first_cell = td("Version", isolated(version, "version"));
    if (repeated) first_cell.classList.add("repeated");
    const license = td("License", isolated(texts[cell(row, F.license)]));
    license.className = "license";
    const rows = [make("tr", "", first_cell, td("File", file), bytes, indexed, license, signature(row, name), digest)];
    const depends = data.depends[row];
    if (depends?.length) {
      const cells = td("", make("span", "soft", "depends on "));
      cells.colSpan = 7;
      depends.forEach((spec, i) => cells.append(i ? ", " : "", isolated(texts[spec])));
      rows.push(make("tr", "depends", cells));
    }
    return rows;
  };
  const subdirRow = (p, row) => {
    const subdir = data.subdirs[cell(row, S.subdir)];
    const place = link(`${encodeURIComponent(subdir)}/index.html#q=${encodeURIComponent(p.name)}`, isolated(subdir));
    const signed = td("Signature");
    for (const state of ["checked", "unverified", "unsigned"]) {
      const count = cell(row, S[state]);
      const all = count === cell(row, S.files);
      if (count) signed.append(badge(state, all ? STATES[state] : `${number(count)} ${STATES[state]}`), " ");
    }
    return [
      make("tr", "", td("Subdir", place), td("Newest", isolated(texts[cell(row, S.version)], "version")),
        td("Packages", number(cell(row, S.files))), td("Size", size(cell(row, S.size))),
        td("Indexed", day(cell(row, S.indexed))), signed),
    ];
  };

  // What a name unfolds to.
  const unfolded = ({ p, rows }) => {
    const body = make("div", "body");
    if (p.summary) body.append(make("p", "whole-summary", isolated(p.summary)));
    if (p.home) body.append(make("p", "home", make("span", "soft", "Home: "), homeLink(p.home)));
    const heads = ofSubdir
      ? ["Version", "File", "Size", "Indexed", "License", "Signature", "SHA-256"]
      : ["Subdir", "Newest", "Packages", "Size", "Indexed", "Signature"];
    const tbody = make("tbody");
    const files = make("table", ofSubdir ? "files" : "places", head(heads), tbody);
    files.setAttribute("aria-label", `${ofSubdir ? "Files" : "Subdirs"} of ${p.name}`);
    body.append(make("div", "scroll", files));
    let list = rows ?? Array.from({ length: p.end - p.first }, (_, i) => p.first + i);
    const more = make("button", "");
    more.type = "button";
    let done = 0;
    const next = () => {
      const end = Math.min(done + CHUNK, list.length);
      for (; done < end; done++) {
        const made = ofSubdir ? fileRow(p, list[done], done ? list[done - 1] : null) : subdirRow(p, list[done]);
        tbody.append(...made);
      }
      const left = list.length - done;
      more.hidden = left === 0;
      more.textContent = left ? `Show ${number(Math.min(left, CHUNK))} more of ${number(list.length)}` : "";
    };
    more.addEventListener("click", next);
    body.append(more);
    if (rows) {
      const all = make("button", "", `Show all ${number(p.end - p.first)}`);
      all.type = "button";
      const note = make("p", "matching", `${number(rows.length)} of ${number(p.end - p.first)} match. `, all);
      all.addEventListener("click", () => body.replaceWith(unfolded({ p, rows: null })));
      body.insertBefore(note, files.parentNode);
    }
    next();
    return body;
  };
  const homeLink = (address) => {
    const element = link(address, isolated(address));
    element.rel = "noopener noreferrer nofollow";
    return element;
  };

  const places = (p) => {
    const names = [];
    for (let row = p.first; row < p.end; row++) names.push(data.subdirs[cell(row, S.subdir)]);
    return names.length > 3 ? `${names.length} subdirs` : names.join(", ");
  };
  const packageItem = (one) => {
    const { p } = one;
    const button = make("button", "name", isolated(p.name));
    button.type = "button";
    button.setAttribute("aria-expanded", "false");
    const row = make("div", "row",
      make("div", "what", make("h3", "", button), isolated(p.summary, "summary")),
      labelled("version", "newest", isolated(p.version)),
      labelled("license", "license", isolated(p.license)),
      ofSubdir ? labelled("date", "indexed", day(p.indexed)) : labelled("date", "in", places(p)),
      make("span", "count", number(p.files), make("span", "label", p.files === 1 ? " package" : " packages")),
      stateBadges(p));
    const item = make("li", "", row);
    const toggle = () => {
      const open = button.getAttribute("aria-expanded") !== "true";
      button.setAttribute("aria-expanded", String(open));
      item.classList.toggle("open", open);
      if (open) item.append(unfolded(one));
      else item.lastChild.remove();
    };
    // The whole row takes a click, unless text in it was selected; the button is what keyboards and screen readers use.
    row.addEventListener("click", ({ target }) => {
      if (target.closest("button") || getSelection().isCollapsed) toggle();
    });
    one.open = toggle;
    return item;
  };

  const list = at("list"), more = at("more");
  const showMore = () => {
    const end = Math.min(shown + CHUNK, found.length);
    const items = document.createDocumentFragment();
    for (; shown < end; shown++) items.append(packageItem(found[shown]));
    list.append(items);
    const left = found.length - shown;
    more.hidden = left === 0;
    more.textContent = left ? `Show ${number(Math.min(left, CHUNK))} more of ${several(found.length, "name", "names")}` : "";
  };

  // Controls, and the address that keeps what they say.

  const controls = { q: at("q"), state: at("state-choice"), order: at("order") };
  const option = (value, text) => {
    const element = make("option", "", text);
    element.value = value;
    return element;
  };
  controls.state.append(option("", "any"));
  for (const [state, name] of Object.entries(STATES)) {
    const count = packages.reduce((sum, p) => sum + p.counts[state], 0);
    if (count) controls.state.append(option(state, `${name} (${number(count)})`));
  }

  const whole = at("found").textContent;
  const show = () => {
    const start = performance.now();
    const query = controls.q.value.trim();
    search(query, controls.state.value, controls.order.value);
    list.replaceChildren();
    shown = 0;
    showMore();
    if (query && found.length && (found.length === 1 || found[0].key === 0)) found[0].open();
    const rows = found.reduce((sum, { p, rows }) => sum + (rows && ofSubdir ? rows.length : p.files), 0);
    const text = `Found ${several(rows, "package", "packages")}, ${several(found.length, "name", "names")}`;
    at("found").textContent = query || controls.state.value ? text : whole;
    at("none").hidden = found.length > 0;
    list.dataset.took = Math.round(performance.now() - start);
  };
  const keep = () => {
    const said = Object.entries(controls).filter(([, control]) => control.value.trim());
    const hash = said.map(([name, control]) => `${name}=${encodeURIComponent(control.value.trim())}`).join("&");
    try {
      history.replaceState(null, "", location.pathname + (hash ? `#${hash}` : ""));
    } catch {
      // Some browsers keep the address of a local file as it is.
    }
  };
  const restore = () => {
    const hash = location.hash.slice(1);
    const said = new URLSearchParams(/^(q|state|order)=/.test(hash) ? hash.replace(/\+/g, "%2B") : location.search);
    for (const [name, control] of Object.entries(controls)) control.value = said.get(name) ?? "";
    for (const name of ["state", "order"]) controls[name].selectedIndex = Math.max(0, controls[name].selectedIndex);
  };

  let waiting = 0;
  const changed = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      show();
      keep();
      // Whoever has scrolled down sees the first that was found.
      if (list.getBoundingClientRect().top < 0) at("packages").scrollIntoView();
    }, 60);
  };
  controls.q.addEventListener("input", changed);
  controls.state.addEventListener("change", changed);
  controls.order.addEventListener("change", changed);
  more.addEventListener("click", showMore);
  addEventListener("hashchange", () => {
    if (location.hash !== "#packages") {
      restore();
      show();
    }
  });
  addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName);
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      controls.q.focus();
    }
  });
  new IntersectionObserver(
    (seen) => {
      if (seen.some((entry) => entry.isIntersecting) && !more.hidden) showMore();
    },
    { rootMargin: "400px" },
  ).observe(more);

  const columns = ofSubdir
    ? ["Name and summary", "Newest", "License", "Indexed", "Packages", "Signatures"]
    : ["Name and summary", "Newest", "License", "Subdirs", "Packages", "Signatures"];
  at("columns").append(...columns.map((name) => make("span", "", name)));
  at("columns").hidden = false;
  at("find").hidden = false;
  restore();
  show();
  list.dataset.ready = Math.round(performance.now() - began);
})();
