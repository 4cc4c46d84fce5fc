// The table of roles, and that of scopes.

const kind = person => KINDS[person.kind] ? el("span", { class: "kind" }, KINDS[person.kind]) : null;
const cell = (label, attributes, ...content) =>
    el("td", { role: "cell", "data-label": label, ...attributes }, ...content);
const head = (name, attributes) => el("th", { scope: "col", role: "columnheader", ...attributes }, name);

function table(caption, heads, bodies) {
    return el("table", { role: "table" }, el("caption", { class: "quiet" }, caption),
        el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, heads)), bodies);
}

function verbCell(span, verb) {
    const name = verbNames[verb];
    const can = span.can === null ? "unknown" : span.can >> verb & 1 ? "yes" : "no";
    const mark = { yes: "yes", no: "–", unknown: "?" }[can];
    const spoken = can === "yes" ? can
        : [el("span", { "aria-hidden": "true" }, mark), el("span", { class: "quiet" }, can)];
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
        cell("since", { class: "date" }, sinceText(span)),
        cell("given by", { class: "given" }, givenBy(span)));
    button.addEventListener("click", () => {
        const header = row.parentNode.querySelector("th");
        if (button.getAttribute("aria-expanded") === "true") closeReason(span, row, header);
        else openReason(span, row, header);
    });
    return row;
}

function sinceText(span) {
    const isKnown = !span.live || span.others && span.others.createdOn;
    return isKnown ? isoDay(dayOf(since(span))) : "not known";
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
        return [by ? line(foreign(by)) : null, through, softly("not this service")];
    }
    const bindings = span.ours.bindings.flatMap((binding, at) => [at ? ", " : "", foreign(binding)]);
    return [through, bindings.length ? line(bindings) : line("this service")];
}

function openReason(span, row, header) {
    reasonNumber += 1;
    const id = `reason-${reasonNumber}`;
    const button = row.querySelector("button");
    button.setAttribute("aria-expanded", "true");
    button.setAttribute("aria-controls", id);
    const cell = el("td", { role: "cell", colspan: verbs.length + 4 }, chain(span));
    row.after(el("tr", { role: "row", class: "why", id }, cell));
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
