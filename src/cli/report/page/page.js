// The page of a report. It reads the data beside it, draws one view, and keeps that view in the address, behind the #.
//
// The data: when it was `made`; `since` when the audit has records; `scopes` of the report; `places` where assignments were
// made; `verbs`; `people`; `spans`, each a time in which a person (`p`) had a role through an assignment made `at` a place,
// which reaches some scopes, with the bits of the verbs that it gives (`can`; null: the role could not be read); and `unseen`
// and `unseenPast`, sentences about what is out of sight. Days are days in UTC, and a day shows what was held at its end.
//
// Names were written by others. They reach the page as text only, each isolated and with its control characters escaped.
"use strict";
(() => {
    const DAY = 86400000;
    const ROWS_AT_A_TIME = 300;
    const CHOICES_AT_A_TIME = 100;
    const CHANGES_SHOWN = 8;
    const MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
        "November", "December"];
    const KINDS = { Group: "Entra group", ServicePrincipal: "application", Other: "kind unknown" };
    const CAUSES = { request: "a push of", order: "an order of", sweep: "a sweep of", snapshot: "new bindings, activated by" };
    // What acts on a line or hides in it: controls, separators, and what sets the direction of text.
    const ACTS = /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;

    // ---- text ----

    const byId = id => document.getElementById(id);
    const numbers = new Intl.NumberFormat("en");
    const figure = number => numbers.format(number);
    const collator = new Intl.Collator("en", { numeric: true });
    const escaped = text => String(text).replace(ACTS, c => `\\u{${c.charCodeAt(0).toString(16)}}`);

    /** An element. Strings become text, never markup. */
    function el(tag, attributes, ...children) {
        const made = document.createElement(tag);
        for (const [name, value] of Object.entries(attributes || {})) {
            if (value === true) made.setAttribute(name, "");
            else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
        }
        made.append(...children.flat().filter(child => child !== null && child !== undefined));
        return made;
    }

    /** Text of others, isolated: its direction turns nothing round it. A mail address may break behind its @. */
    function foreign(text) {
        const parts = escaped(text).split("@");
        return el("bdi", null, parts.flatMap((part, at) => at ? ["@", el("wbr"), part] : [part]));
    }
    const code = text => el("code", null, el("bdi", null, escaped(text)));
    const plural = (number, one, many) => `${figure(number)} ${number === 1 ? one : many}`;
    const two = number => String(number).padStart(2, "0");
    const isoDay = day => new Date(day * DAY).toISOString().slice(0, 10);
    const dayOf = ms => Math.floor(ms / DAY);

    function longDay(day) {
        const date = new Date(day * DAY);
        return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()}`;
    }

    function clock(ms) {
        const date = new Date(ms);
        return `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())} UTC`;
    }

    const longTime = ms => `${longDay(dayOf(ms))}, ${clock(ms)}`;
    const sentence = text => text.charAt(0).toUpperCase() + text.slice(1);

    // ---- data ----

    const data = JSON.parse(byId("data").textContent);
    const { scopes, places, verbs, people, spans } = data;
    const made = Date.parse(data.made);
    const today = dayOf(made);
    const firstDay = data.since === null ? today : Math.min(dayOf(Date.parse(data.since)), today);
    const verbNames = verbs.map(verb => verb.replace(/-/g, " "));
    const isNamed = item => item.name !== null && item.name !== undefined;
    const nameOf = item => isNamed(item) ? item.name : item.id;
    const scopeNames = countBy(scopes.map(scope => scope.name));

    function countBy(texts) {
        const counts = new Map();
        for (const text of texts) counts.set(text, (counts.get(text) || 0) + 1);
        return counts;
    }

    /** The places of a list in the order of the names, those without one last; and the rank of each. */
    function ordered(list) {
        const order = list.map((_, at) => at).sort((a, b) =>
            isNamed(list[b]) - isNamed(list[a]) || collator.compare(nameOf(list[a]), nameOf(list[b])));
        const rank = new Uint32Array(list.length);
        order.forEach((at, place) => { rank[at] = place; });
        return { order, rank };
    }

    const scopeOrder = ordered(scopes);
    const peopleOrder = ordered(people);

    /** Where a resource is: its resource group and its subscription. */
    function whereabouts(id) {
        const parts = id.split("/");
        const after = name => {
            const at = parts.findIndex(part => part.toLowerCase() === name);
            return at < 0 ? null : parts[at + 1];
        };
        const subscription = after("subscriptions");
        const group = after("resourcegroups");
        if (!subscription) return id;
        const short = subscription.length > 13 ? `${subscription.slice(0, 4)}…${subscription.slice(-4)}` : subscription;
        return group ? `${group}, subscription ${short}` : `subscription ${short}`;
    }

    /** Held at the end of a day; without a day, now. */
    function isHeld(span, day) {
        if (day === null) return span.until === null;
        const end = (day + 1) * DAY;
        return !span.live && span.from < end && (span.until === null || span.until >= end);
    }

    /** When it began, as far as is known: others may have made it before it was first seen. */
    function since(span) {
        const made = span.others && span.others.createdOn ? Date.parse(span.others.createdOn) : NaN;
        return Number.isNaN(made) ? span.from : made;
    }

    const haystacks = new Map();

    /** All text of a span, to search in. */
    function haystack(span) {
        let text = haystacks.get(span);
        if (text === undefined) {
            const { ours, others } = span;
            const person = people[span.p];
            const parts = [person.name, person.id, span.role, places[span.at].name, places[span.at].id, span.through];
            if (ours) parts.push(...ours.bindings, ...ours.reasons, ours.cause, ours.actor, ours.op);
            if (others) parts.push(others.createdBy);
            parts.push(...span.reach.slice(0, 20).map(scope => scopes[scope].name));
            text = parts.filter(Boolean).join("\n").toLowerCase();
            haystacks.set(span, text);
        }
        return text;
    }

    const ids = person => [code(`object id ${person.id}`), ...(person.user ? [" · ", code(`user ${person.user}`)] : [])];
    const isSubject = place => state.scope !== null && place.id.toLowerCase() === scopes[state.scope].id.toLowerCase();

    /** How many can do what at each scope, and how many roles each person has. */
    function countAll(day) {
        const others = 1 << verbs.length;
        const any = others << 1;
        const cells = new Uint8Array(scopes.length * people.length);
        const held = new Uint32Array(people.length);
        for (const span of spans) {
            if (!isHeld(span, day)) continue;
            held[span.p] += 1;
            const can = span.can === null ? 0 : span.can;
            const bits = can | any | (!span.ours && can ? others : 0);
            for (const scope of span.reach) cells[scope * people.length + span.p] |= bits;
        }
        const byScope = scopes.map((_, scope) => {
            const alike = new Uint32Array(any << 1);
            for (const bits of cells.subarray(scope * people.length, (scope + 1) * people.length)) alike[bits] += 1;
            const having = bit => alike.reduce((sum, number, bits) => bits & bit ? sum + number : sum, 0);
            return { verbs: verbs.map((_, verb) => having(1 << verb)), others: having(others), any: having(any) };
        });
        return { day, held, byScope };
    }

    let counted = null;
    const counts = day => counted && counted.day === day ? counted : (counted = countAll(day));

    // ---- the state, and the address ----

    const state = { scope: null, person: null, day: null, can: 0, by: "", find: "", unknown: null };

    function readAddress() {
        const given = new URLSearchParams(location.hash.slice(1));
        const place = (list, id) => id === null ? null : list.findIndex(item => item.id.toLowerCase() === id.toLowerCase());
        const scope = place(scopes, given.get("scope"));
        const person = place(people, given.get("person"));
        state.scope = scope === -1 ? null : scope;
        state.person = state.scope !== null || person === -1 ? null : person;
        state.unknown = scope === -1 ? `scope ${given.get("scope")}` : person === -1 ? `person ${given.get("person")}` : null;
        const day = Date.parse(given.get("day") || "");
        state.day = Number.isNaN(day) || dayOf(day) >= today || firstDay >= today ? null : Math.max(dayOf(day), firstDay);
        const can = (given.get("can") || "").split(",");
        state.can = verbs.reduce((bits, verb, at) => can.includes(verb) ? bits | 1 << at : bits, 0);
        state.by = ["service", "others"].includes(given.get("by")) ? given.get("by") : "";
        state.find = given.get("find") || "";
    }

    /** The address of the view with these changes. */
    function address(changes) {
        const { scope, person, day, can, by, find } = { ...state, ...changes };
        const parts = [];
        const add = (name, value) => {
            parts.push(`${name}=${encodeURIComponent(value).replace(/%2F/g, "/").replace(/%40/g, "@").replace(/%2C/g, ",")}`);
        };
        if (scope !== null) add("scope", scopes[scope].id);
        if (person !== null) add("person", people[person].id);
        if (day !== null) add("day", isoDay(day));
        if (can) add("can", verbs.filter((_, at) => can & 1 << at).join(","));
        if (by) add("by", by);
        if (find) add("find", find);
        return `#${parts.join("&")}`;
    }

    const toScope = scope => address({ scope, person: null, find: "" });
    const toPerson = person => address({ scope: null, person, find: "" });
    const toAll = () => address({ scope: null, person: null, can: 0, by: "", find: "" });

    let writing = 0;
    /** A browser limits how often an address may change. */
    function writeAddress() {
        clearTimeout(writing);
        writing = setTimeout(() => history.replaceState(null, "", address({})), 200);
    }

    // ---- what the view shows ----

    let subject = { key: "", spans: [], days: [], counts: [] };

    /** Every span of the subject, and the days on which something changed, with how much. */
    function readSubject() {
        const key = `${state.scope}/${state.person}`;
        if (subject.key === key) return;
        const of = state.scope !== null ? span => span.reach.includes(state.scope)
            : state.person !== null ? span => span.p === state.person : () => true;
        const changed = new Map();
        const mark = ms => {
            const day = dayOf(ms);
            if (day >= firstDay && day <= today) changed.set(day, (changed.get(day) || 0) + 1);
        };
        const own = spans.filter(of);
        for (const span of own) {
            if (span.live) continue;
            mark(span.from);
            if (span.until !== null) mark(span.until);
        }
        const days = [...changed.keys()].sort((a, b) => a - b);
        subject = { key, spans: own, days, counts: days.map(day => changed.get(day)) };
        shown.rows = ROWS_AT_A_TIME;
        shown.open.clear();
        shown.allOpen = false;
    }

    const shown = { rows: ROWS_AT_A_TIME, open: new Set(), allOpen: false, printing: false };

    const canAll = span => span.can === null || (span.can & state.can) === state.can;

    /** The rows of the table: what is held, by the filters. */
    function rows() {
        const held = subject.spans.filter(span => isHeld(span, state.day));
        const find = state.find.trim().toLowerCase();
        const kept = held.filter(span => canAll(span)
            && (state.by === "" || (state.by === "service") === Boolean(span.ours))
            && (find === "" || haystack(span).includes(find)));
        const first = state.person === null
            ? (a, b) => peopleOrder.rank[a.p] - peopleOrder.rank[b.p]
            : (a, b) => collator.compare(places[a.at].name, places[b.at].name) || a.at - b.at;
        kept.sort((a, b) => first(a, b) || collator.compare(a.role, b.role)
            || collator.compare(places[a.at].name, places[b.at].name) || a.from - b.from);
        return { held, kept };
    }

    // ---- the reason ----

    const step = (name, ...content) => el("li", null, el("span", { class: "step" }, name), el("div", null, ...content));
    const line = (...content) => el("p", null, ...content);
    const softly = (...content) => el("p", { class: "soft" }, ...content);

    /** From the role back to what caused it. */
    function chain(span) {
        const steps = state.person === null ? [roleStep(span), holderStep(span)] : [roleStep(span)];
        if (span.through) {
            steps.push(step("Entra group", line("The group ", foreign(span.through), " has the role; this is one of its members.")));
        }
        if (span.ours) steps.push(...ourSteps(span));
        else steps.push(othersStep(span));
        const end = endStep(span);
        return el("ol", { class: "chain" }, steps, end);
    }

    function roleStep(span) {
        const place = places[span.at];
        return step("Role",
            line(foreign(span.role), " at ", foreign(place.name)),
            isSubject(place) ? null : line(code(place.id)),
            span.reach.length === 1 && scopes[span.reach[0]].id === place.id ? null : softly("reaches ", reached(span, 12)),
            span.can === null ? line("The role could not be read: it may give anything.") : null,
            span.conditional ? line("A condition narrows it.") : null);
    }

    function holderStep(span) {
        const person = people[span.p];
        return step("Held by",
            line(foreign(nameOf(person)), kind(person)),
            line(ids(person)),
            person.kind === "Group" ? softly("Each of its members has the role.") : null);
    }

    function ourSteps(span) {
        const { bindings, reasons, cause, actor, op, confirmed, taken } = span.ours;
        const steps = bindings.length === 0 ? [] : [step(bindings.length === 1 ? "Binding" : "Bindings",
            bindings.map(binding => line(foreign(binding))))];
        if (reasons.length > 0) steps.push(step("Group path", reasons.map(reason => line(foreign(pathOf(reason, bindings))))));
        if (op || cause) {
            steps.push(step("Caused by",
                line(CAUSES[cause] ? sentence(CAUSES[cause]) : foreign(cause), " ", foreign(actor)),
                line(longTime(span.from)),
                op ? line(code(`operation ${op}`)) : null,
                confirmed ? null : line("Azure has not confirmed it yet. While a call may have landed, it counts as held.")));
        } else {
            steps.push(step("Caused by", line("This service made it, and has no record of it any more.")));
        }
        if (taken) {
            steps.push(step(span.until === null ? "Being taken" : "Taken",
                taken.reasons.map(reason => line(foreign(reason))),
                taken.actor ? line("by ", foreign(taken.actor)) : null,
                taken.op ? line(code(`operation ${taken.op}`)) : null));
        }
        return steps;
    }

    /** A reason ends with its binding, which has a step of its own where there is one. */
    function pathOf(reason, bindings) {
        const end = ` of binding ${bindings[0]}`;
        return bindings.length === 1 && reason.endsWith(end) ? reason.slice(0, -end.length) : reason;
    }

    function othersStep(span) {
        const { createdBy, createdOn, firstSeen } = span.others || {};
        const parts = [];
        if (createdBy || createdOn) {
            parts.push("made", createdBy ? [" by ", foreign(createdBy)] : "",
                createdOn ? ` on ${longDay(dayOf(Date.parse(createdOn)))}` : "");
        }
        if (firstSeen) parts.push(parts.length ? ", " : "", `first seen on ${longDay(dayOf(Date.parse(firstSeen)))}`);
        return step("Caused by",
            line("Not made by this service", parts.length ? ": " : "", parts.flat()),
            span.live ? softly("Azure shows it now; it has no recorded past.") : null);
    }

    function endStep(span) {
        if (span.until === null) return null;
        return step("Ended", line(longTime(span.until)), span.ours ? null : softly("as a sweep saw it, at most an hour late"));
    }

    /** The scopes that it reaches, by name. */
    function reached(span, most) {
        if (scopes.length > 1 && span.reach.length === scopes.length) return `all ${scopes.length} scopes`;
        const names = span.reach.slice(0, most).flatMap((scope, at) => [at ? ", " : "", foreign(scopes[scope].name)]);
        const more = span.reach.length - most;
        return more > 0 ? [...names, ` and ${plural(more, "other", "others")}`] : names;
    }

    // ---- the table ----

    const kind = person => KINDS[person.kind] ? el("span", { class: "kind" }, KINDS[person.kind]) : null;
    const cell = (label, attributes, ...content) => el("td", { role: "cell", "data-label": label, ...attributes }, ...content);
    const head = (name, attributes) => el("th", { scope: "col", role: "columnheader", ...attributes }, name);

    function table(caption, heads, bodies) {
        return el("table", { role: "table" }, el("caption", { class: "quiet" }, caption),
            el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, heads)), bodies);
    }

    function verbCell(span, verb) {
        const name = verbNames[verb];
        const can = span.can === null ? "unknown" : span.can >> verb & 1 ? "yes" : "no";
        const mark = { yes: "yes", no: "–", unknown: "?" }[can];
        const spoken = can === "yes" ? can : [el("span", { "aria-hidden": "true" }, mark), el("span", { class: "quiet" }, can)];
        return cell(name, { class: "verb" }, el("span", { class: can }, spoken));
    }

    const groupOf = span => state.person === null ? span.p : span.at;
    let reasonNumber = 0;

    /** One body for each holder, or for each place of one person: its heading spans its rows. */
    function roleTable(kept) {
        const ofPerson = state.person !== null;
        const heads = [head(ofPerson ? "Made at" : "Who"), head("Role", { class: "role" }),
            ...verbNames.map(name => head(name, { class: "verb" })),
            head(ofPerson ? "Reaches" : "Made at", { class: "place" }), head("Since", { class: "date" }),
            head("Given by", { class: "given" })];
        const bodies = [];
        const most = shown.printing ? kept.length : shown.rows;
        for (let at = 0; at < kept.length && at < most;) {
            let end = at + 1;
            while (end < kept.length && groupOf(kept[end]) === groupOf(kept[at])) end += 1;
            bodies.push(roleBody(kept.slice(at, end)));
            at = end;
        }
        return { table: table(byId("table-title").textContent, heads, bodies), bodies };
    }

    function roleBody(group) {
        const first = state.person === null
            ? [el("a", { href: toPerson(group[0].p) }, foreign(nameOf(people[group[0].p]))), kind(people[group[0].p])]
            : [foreign(places[group[0].at].name)];
        const header = el("th", { scope: "rowgroup", role: "rowheader", rowspan: group.length }, first);
        const body = el("tbody", { role: "rowgroup" });
        group.forEach((span, at) => {
            const row = roleRow(span, at === 0 ? header : null);
            body.append(row);
            if (shown.allOpen || shown.printing || shown.open.has(span)) openReason(span, row, header);
        });
        return body;
    }

    function roleRow(span, header) {
        const button = el("button", { type: "button", class: "role", "aria-expanded": "false" }, foreign(span.role));
        const row = el("tr", { role: "row" }, header, cell(null, { class: "role" }, button, tags(span)));
        verbs.forEach((_, verb) => row.append(verbCell(span, verb)));
        row.append(cell(state.person === null ? "made at" : "reaches", null, whereCell(span)),
            cell("since", { class: "date" }, span.live && !(span.others && span.others.createdOn) ? "now seen" : isoDay(dayOf(since(span)))),
            cell("given by", { class: "given" }, givenBy(span)));
        button.addEventListener("click", () => {
            const header = row.parentNode.querySelector("th");
            if (button.getAttribute("aria-expanded") === "true") closeReason(span, row, header);
            else openReason(span, row, header);
        });
        return row;
    }

    function tags(span) {
        const tag = text => el("span", { class: "kind" }, text);
        return [span.conditional ? tag("with a condition") : null, span.live ? tag("no past known") : null,
            span.ours && !span.ours.confirmed ? tag("not confirmed") : null,
            span.ours && span.ours.taken && span.until === null && state.day === null ? tag("being taken") : null];
    }

    function whereCell(span) {
        if (state.person !== null) return reached(span, 3);
        return isSubject(places[span.at]) ? el("span", { class: "soft" }, "here") : foreign(places[span.at].name);
    }

    function givenBy(span) {
        const through = span.through ? line("Entra group ", foreign(span.through)) : null;
        if (!span.ours) {
            const by = span.others && span.others.createdBy;
            return [line("not this service"), through, by ? line("made by ", foreign(by)) : null];
        }
        const bindings = span.ours.bindings.flatMap((binding, at) => [at ? ", " : "", foreign(binding)]);
        return [through, bindings.length ? line("binding ", bindings) : line("this service")];
    }

    function openReason(span, row, header) {
        reasonNumber += 1;
        const id = `reason-${reasonNumber}`;
        const button = row.querySelector("button");
        button.setAttribute("aria-expanded", "true");
        button.setAttribute("aria-controls", id);
        const label = `Why: ${escaped(span.role)}`;
        row.after(el("tr", { role: "row", class: "why", id }, el("td", { role: "cell", colspan: verbs.length + 4, "aria-label": label }, chain(span))));
        header.rowSpan += 1;
        if (!shown.allOpen && !shown.printing) shown.open.add(span);
    }

    function closeReason(span, row, header) {
        const button = row.querySelector("button");
        button.setAttribute("aria-expanded", "false");
        button.removeAttribute("aria-controls");
        row.nextSibling.remove();
        header.rowSpan -= 1;
        shown.open.delete(span);
    }

    /** Every scope, with how many can do what there. */
    function scopeTable() {
        const { byScope } = counts(state.day);
        const heads = [head("Scope"), ...verbNames.map(name => head(name, { class: "figure" })),
            head("not by this service", { class: "figure" }), head("hold any role", { class: "figure" })];
        const count = (label, number) => cell(label, { class: "figure" },
            number ? figure(number) : el("span", { class: "none" }, "0"));
        const rows = scopeOrder.order.map(scope => {
            const counts = byScope[scope];
            return el("tbody", { role: "rowgroup" }, el("tr", { role: "row" },
                el("th", { scope: "row", role: "rowheader" }, el("a", { href: toScope(scope) }, foreign(scopes[scope].name)),
                    el("div", { class: "small" }, foreign(whereabouts(scopes[scope].id)))),
                verbNames.map((name, verb) => count(name, counts.verbs[verb])),
                count("not by this service", counts.others), count("hold any role", counts.any)));
        });
        return table("How many can do what at each scope", heads, rows);
    }

    // ---- drawing ----

    function draw() {
        readSubject();
        drawTitle();
        drawTime();
        drawChanges();
        const sentences = state.day === null ? data.unseen : data.unseenPast;
        byId("unseen").replaceChildren(...sentences.map(text => el("li", null, foreign(sentence(text)))));
        drawTable();
        drawChoices();
    }

    const momentText = () => state.day === null ? `Now: ${longTime(made)}` : `At the end of ${longDay(state.day)} (UTC)`;

    function drawTitle() {
        const title = byId("title");
        const about = byId("subject");
        let name = "All scopes";
        if (state.scope !== null) {
            name = scopes[state.scope].name;
            title.replaceChildren(foreign(name));
            about.replaceChildren(code(scopes[state.scope].id));
        } else if (state.person !== null) {
            const person = people[state.person];
            name = nameOf(person);
            title.replaceChildren(foreign(name), kind(person) || "");
            about.replaceChildren(...ids(person));
        } else {
            title.replaceChildren(name);
            about.replaceChildren(`${plural(scopes.length, "scope", "scopes")}, ${plural(people.length, "holder", "holders")} of roles since the audit began`);
        }
        byId("moment").textContent = momentText();
        document.title = `${escaped(name)}, ${state.day === null ? "now" : isoDay(state.day)}: who can do what to backups`;
        byId("broken").hidden = state.unknown === null;
        byId("broken").replaceChildren(state.unknown === null ? "" : "This report has no ", state.unknown === null ? "" : foreign(state.unknown));
    }

    function drawTime() {
        const day = state.day === null ? today : state.day;
        const slider = byId("day");
        slider.value = day;
        slider.setAttribute("aria-valuetext", state.day === null ? "now" : `end of ${longDay(day)}`);
        byId("date").value = isoDay(day);
        byId("previous").disabled = previousChange(day) === undefined;
        byId("next").disabled = nextChange(day) === undefined;
        byId("now").disabled = state.day === null;
        drawMarks();
    }

    const previousChange = day => subject.days.filter(change => change < day).pop();
    const nextChange = day => subject.days.find(change => change > day);
    let marked = "";

    /** A stroke for each day with a change, longer where more changed. */
    function drawMarks() {
        if (marked === subject.key) return;
        marked = subject.key;
        const most = Math.log1p(Math.max(1, ...subject.counts));
        const strokes = subject.days.map((day, at) =>
            `M${day - firstDay} 0V${(0.25 + 0.75 * Math.log1p(subject.counts[at]) / most).toFixed(2)}`);
        byId("marks").setAttribute("viewBox", `0 0 ${Math.max(1, today - firstDay)} 1`);
        byId("marks").firstElementChild.setAttribute("d", strokes.join(""));
    }

    /** What began and what ended on the day. An assignment that goes on under other bindings did neither. */
    function changesOf(day) {
        const key = span => [span.p, span.at, span.role, span.through].join("\n");
        const began = subject.spans.filter(span => !span.live && dayOf(span.from) === day);
        const goesOn = new Map(began.map(span => [`${key(span)}\n${span.from}`, span]));
        const changes = [];
        for (const span of subject.spans) {
            if (span.live || span.until === null || dayOf(span.until) !== day) continue;
            const next = `${key(span)}\n${span.until}`;
            if (goesOn.has(next)) {
                changes.push({ what: "kept", time: span.until, span: goesOn.get(next) });
                began.splice(began.indexOf(goesOn.get(next)), 1);
                goesOn.delete(next);
            } else {
                changes.push({ what: "lost", time: span.until, span });
            }
        }
        changes.push(...began.map(span => ({ what: "gained", time: span.from, span })));
        return changes.sort((a, b) => a.time - b.time);
    }

    function drawChanges() {
        const day = state.day === null ? today : state.day;
        const changes = changesOf(day);
        const most = shown.printing ? changes.length : CHANGES_SHOWN;
        const on = state.day === null ? "today" : "on that day";
        const items = changes.slice(0, most).map(changeItem);
        const more = changes.length - items.length;
        byId("changes").replaceChildren(
            el("p", { class: "soft" }, changes.length === 0 ? `Nothing changed ${on}.` : `${plural(changes.length, "change", "changes")} ${on}:`),
            el("ul", null, items, more > 0 ? el("li", { class: "soft" }, `and ${figure(more)} more`) : null));
    }

    /** A change opens to its reason, which is in no row of the table where the role was lost. */
    function changeItem({ what, time, span }) {
        const taken = what === "lost" && span.ours && span.ours.taken ? span.ours.taken.reasons : [];
        const why = what !== "kept" && !span.ours ? ["not by this service"] : taken;
        const details = el("details", null, el("summary", null, el("span", { class: "what" }, what),
            foreign(nameOf(people[span.p])), ": ", foreign(span.role), " at ", foreign(places[span.at].name),
            el("span", { class: "soft" }, `, ${clock(time)}`, why.map(text => [", ", foreign(text)]).flat())));
        details.addEventListener("toggle", () => {
            if (details.open && details.children.length === 1) details.append(chain(span));
        });
        return el("li", null, details);
    }

    function drawTable() {
        const overview = state.scope === null && state.person === null;
        byId("filters").hidden = overview;
        byId("reasons").hidden = overview;
        byId("more").hidden = true;
        if (overview) {
            byId("table-title").textContent = "How many can do what";
            byId("number").textContent = `${plural(scopes.length, "scope", "scopes")}. Each number counts people, Entra groups and applications.`;
            byId("table").replaceChildren(scopeTable());
            return;
        }
        byId("table-title").textContent = state.person === null ? "Who can do what here" : "Roles and what they allow";
        const { held, kept } = rows();
        drawFilters(held);
        byId("number").textContent = numberText(held, kept);
        const { table, bodies } = roleTable(kept);
        byId("table").replaceChildren(kept.length ? table : "");
        const drawn = bodies.reduce((sum, body) => sum + body.querySelectorAll("button.role").length, 0);
        byId("more").hidden = drawn >= kept.length;
        byId("more").textContent = `Show ${Math.min(ROWS_AT_A_TIME, kept.length - drawn)} more of ${figure(kept.length - drawn)}`;
    }

    /** How many, by kind; and which filters left how many. */
    function numberText(held, kept) {
        const holders = new Set(kept.map(span => span.p));
        const number = kind => [...holders].filter(p => people[p].kind === kind).length;
        const others = holders.size - number("User") - number("Group") - number("ServicePrincipal");
        const kinds = [[number("User"), "person", "people"], [number("Group"), "Entra group", "Entra groups"],
            [number("ServicePrincipal"), "application", "applications"], [others, "holder of unknown kind", "holders of unknown kind"]]
            .filter(([number]) => number > 0).map(([number, one, many]) => plural(number, one, many));
        const who = state.person !== null || kinds.length === 0 ? "" : `${kinds.join(", ")} with `;
        const filters = [];
        if (state.can) filters.push(`who can ${verbNames.filter((_, at) => state.can & 1 << at).join(" and ")}`);
        if (state.by) filters.push(state.by === "service" ? "given by this service" : "not given by this service");
        if (state.find.trim()) filters.push(`containing “${escaped(state.find.trim())}”`);
        const of = filters.length ? ` of ${figure(held.length)}, ${filters.join(", ")}` : "";
        const unread = kept.filter(span => span.can === null).length;
        const unknown = unread ? ` ${plural(unread, "role", "roles")} could not be read.` : "";
        if (held.length === 0) return state.day === null ? "No role is held now." : "No role was held then.";
        return `${who}${plural(kept.length, "role", "roles")}${of}.${unknown}`;
    }

    /** A switch for each verb, with how many can do it. */
    function drawFilters(held) {
        const count = verbs.map((_, verb) => {
            const able = held.filter(span => span.can !== null && span.can >> verb & 1);
            return state.person === null ? new Set(able.map(span => span.p)).size : new Set(able.flatMap(span => span.reach)).size;
        });
        verbButtons.forEach((button, verb) => {
            button.setAttribute("aria-pressed", String(Boolean(state.can & 1 << verb)));
            button.querySelector("b").textContent = figure(count[verb]);
            const unit = state.person === null ? "who can" : `of ${scopes.length} scopes where the person can`;
            button.title = `${count[verb]} ${unit} ${verbNames[verb]}`;
        });
        byId("by").value = state.by;
        if (byId("find").value !== state.find) byId("find").value = state.find;
        byId("reasons").setAttribute("aria-pressed", String(shown.allOpen));
    }

    // ---- the list of scopes and people ----

    const choices = { kind: "scopes", find: "", most: CHOICES_AT_A_TIME, key: "", items: [], texts: {} };

    function choiceText(kind, at) {
        const texts = choices.texts[kind] || (choices.texts[kind] = []);
        const item = kind === "scopes" ? scopes[at] : people[at];
        return texts[at] || (texts[at] = `${item.name || ""}\n${item.id}\n${item.user || ""}`.toLowerCase());
    }

    function drawChoices() {
        const { kind } = choices;
        const find = choices.find.trim().toLowerCase();
        const key = `${kind}\n${find}\n${choices.most}`;
        const order = kind === "scopes" ? scopeOrder.order : peopleOrder.order;
        if (choices.key !== key) {
            choices.key = key;
            const found = find === "" ? order : order.filter(at => choiceText(kind, at).includes(find));
            const names = kind === "scopes" ? scopeNames : null;
            choices.items = found.slice(0, choices.most).map(at => choice(kind, at, names));
            byId("choices").replaceChildren(...choices.items.map(item => el("li", null, item.link)));
            byId("choices").setAttribute("aria-label", kind === "scopes" ? "Scopes" : "People");
            const more = found.length - choices.items.length;
            byId("more-choices").hidden = more <= 0;
            byId("more-choices").textContent = `Show ${Math.min(more, CHOICES_AT_A_TIME)} more`;
            const [one, many] = kind === "scopes" ? ["scope", "scopes"] : ["holder", "holders"];
            byId("choice-number").textContent = find === ""
                ? `${plural(order.length, one, many)}` : `${figure(found.length)} of ${plural(order.length, one, many)}`;
        }
        updateChoices();
    }

    function choice(kind, at, names) {
        const item = kind === "scopes" ? scopes[at] : people[at];
        const name = kind === "scopes" ? item.name : nameOf(item);
        const count = el("span", { class: "count" });
        const hint = kind === "scopes" ? (names.get(name) > 1 ? whereabouts(item.id) : null) : KINDS[item.kind];
        const link = el("a", { title: escaped(item.id) }, el("span", null, foreign(name)), count,
            hint ? el("span", { class: "small" }, foreign(hint)) : null);
        return { at, link, count };
    }

    /** The numbers, addresses and the mark of the current one: the links themselves stay, so that focus does. */
    function updateChoices() {
        const { byScope, held } = counts(state.day);
        const isScopes = choices.kind === "scopes";
        const current = isScopes ? state.scope : state.person;
        const focused = choices.items.find(item => item.link === document.activeElement);
        const entry = focused || choices.items.find(item => item.at === current) || choices.items[0];
        for (const item of choices.items) {
            const number = isScopes ? byScope[item.at].any : held[item.at];
            const label = isScopes ? plural(number, "holder", "holders") : plural(number, "role", "roles");
            item.link.href = isScopes ? toScope(item.at) : toPerson(item.at);
            item.link.tabIndex = item === entry ? 0 : -1;
            item.count.replaceChildren(el("span", { "aria-hidden": "true" }, figure(number)), el("span", { class: "quiet" }, `, ${label}`));
            if (item.at === current) item.link.setAttribute("aria-current", "page");
            else item.link.removeAttribute("aria-current");
        }
        byId("everything").href = toAll();
        if (state.scope === null && state.person === null) byId("everything").setAttribute("aria-current", "page");
        else byId("everything").removeAttribute("aria-current");
    }

    function moveChoice(event) {
        const at = choices.items.findIndex(item => item.link === document.activeElement);
        const last = choices.items.length - 1;
        const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: last, PageDown: Math.min(at + 10, last), PageUp: Math.max(at - 10, 0) }[event.key];
        if (to === undefined || at < 0) return;
        event.preventDefault();
        if (to < 0) byId("find-choice").focus();
        else if (to > last) byId("more-choices").focus();
        else focusChoice(to);
    }

    function focusChoice(to) {
        choices.items.forEach((item, at) => { item.link.tabIndex = at === to ? 0 : -1; });
        if (choices.items[to]) choices.items[to].link.focus();
    }

    // ---- what the reader does ----

    let waiting = 0;
    /** Draws once for many inputs. */
    function change(changes) {
        Object.assign(state, changes);
        writeAddress();
        cancelAnimationFrame(waiting);
        waiting = requestAnimationFrame(draw);
    }

    const setDay = day => change({ day: day >= today ? null : Math.max(day, firstDay) });
    const verbButtons = verbNames.map((name, verb) => {
        const button = el("button", { type: "button", "aria-pressed": "false" }, name, " ", el("b"));
        button.addEventListener("click", () => change({ can: state.can ^ 1 << verb }));
        return button;
    });

    function listenToTime() {
        const slider = byId("day");
        slider.min = firstDay;
        slider.max = today;
        byId("date").min = isoDay(firstDay);
        byId("date").max = isoDay(today);
        byId("first-day").textContent = longDay(firstDay);
        byId("past").hidden = firstDay >= today;
        byId("no-past").hidden = data.since !== null;
        slider.addEventListener("input", () => setDay(Number(slider.value)));
        byId("date").addEventListener("change", () => {
            const day = Date.parse(byId("date").value);
            if (!Number.isNaN(day)) setDay(dayOf(day));
        });
        const current = () => state.day === null ? today : state.day;
        byId("previous").addEventListener("click", () => setDay(previousChange(current())));
        byId("next").addEventListener("click", () => setDay(nextChange(current())));
        byId("now").addEventListener("click", () => setDay(today));
    }

    function listenToFilters() {
        byId("verbs").append(...verbButtons);
        byId("by").addEventListener("change", () => change({ by: byId("by").value }));
        byId("find").addEventListener("input", () => change({ find: byId("find").value }));
        byId("reasons").addEventListener("click", () => {
            shown.allOpen = !shown.allOpen;
            shown.open.clear();
            change({});
        });
        byId("more").addEventListener("click", () => {
            const next = byId("table").querySelectorAll("button.role").length;
            shown.rows += ROWS_AT_A_TIME;
            draw();
            const button = byId("table").querySelectorAll("button.role")[next];
            if (button) button.focus();
        });
    }

    function listenToChoices() {
        byId("scope-number").textContent = figure(scopes.length);
        byId("person-number").textContent = figure(people.length);
        for (const radio of document.querySelectorAll("input[name=list]")) radio.addEventListener("change", () => showList(radio.value));
        const find = byId("find-choice");
        find.addEventListener("input", () => {
            choices.find = find.value;
            choices.most = CHOICES_AT_A_TIME;
            drawChoices();
            byId("choices").scrollTop = 0;
        });
        find.addEventListener("keydown", event => {
            if (event.key === "ArrowDown") {
                event.preventDefault();
                focusChoice(0);
            } else if (event.key === "Enter" && choices.items[0]) {
                choices.items[0].link.click();
            }
        });
        byId("choices").addEventListener("keydown", moveChoice);
        byId("choices").addEventListener("click", event => {
            if (narrow.matches && event.target.closest("a")) byId("finder").open = false;
        });
        byId("more-choices").addEventListener("click", () => {
            const next = choices.items.length;
            choices.most += CHOICES_AT_A_TIME;
            drawChoices();
            focusChoice(next);
        });
    }

    function showList(kind) {
        choices.kind = kind;
        choices.find = "";
        choices.most = CHOICES_AT_A_TIME;
        byId("find-choice").value = "";
        byId("find-choice-label").textContent = kind === "scopes" ? "Find a scope" : "Find a person";
        byId("find-choice").placeholder = byId("find-choice-label").textContent;
        document.querySelector(`input[name=list][value=${kind}]`).checked = true;
        drawChoices();
    }

    const narrow = matchMedia("(max-width: 62rem)");
    const fitFinder = () => { byId("finder").open = !narrow.matches || (state.scope === null && state.person === null); };

    function print(printing) {
        if (shown.printing === printing) return;
        shown.printing = printing;
        draw();
    }

    function follow() {
        readAddress();
        draw();
        scrollTo(0, 0);
        if (document.activeElement === document.body || document.activeElement === null || !document.activeElement.checkVisibility()) byId("title").focus();
    }

    function begin() {
        byId("made").textContent = `Made ${longTime(made)}. ${data.since === null ? "The audit is empty." : `The recorded past begins on ${longDay(firstDay)}.`}`;
        readAddress();
        listenToTime();
        listenToFilters();
        listenToChoices();
        fitFinder();
        narrow.addEventListener("change", fitFinder);
        document.querySelector(".skip").addEventListener("click", event => {
            event.preventDefault();
            byId("view").focus();
        });
        addEventListener("hashchange", follow);
        addEventListener("beforeprint", () => print(true));
        addEventListener("afterprint", () => print(false));
        matchMedia("print").addEventListener("change", event => print(event.matches));
        draw();
        showList(state.person === null ? "scopes" : "people");
    }

    begin();
})();
