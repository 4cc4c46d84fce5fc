// Everything round the table.

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
        const holders = plural(people.length, "holder", "holders");
        about.replaceChildren(`${plural(scopes.length, "scope", "scopes")}, ${holders} of roles since the audit began`);
    }
    byId("moment").textContent = momentText();
    document.title = `${escaped(name)}, ${state.day === null ? "now" : isoDay(state.day)}: who can do what to backups`;
    byId("broken").hidden = state.unknown === null;
    byId("broken").replaceChildren(...(state.unknown === null ? [] : ["This report has no ", foreign(state.unknown)]));
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
        el("p", { class: "soft" },
            changes.length === 0 ? `Nothing changed ${on}.` : `${plural(changes.length, "change", "changes")} ${on}:`),
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
        byId("number").textContent = "Each number counts people, Entra groups and applications.";
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
    const more = kept.length - drawn;
    byId("more").textContent = `Show ${Math.min(ROWS_AT_A_TIME, more)} more of ${figure(more)}`;
}

/** How many, by kind; and which filters left how many. */
function numberText(held, kept) {
    const holders = new Set(kept.map(span => span.p));
    const number = kind => [...holders].filter(p => people[p].kind === kind).length;
    const others = holders.size - number("User") - number("Group") - number("ServicePrincipal");
    const kinds = [[number("User"), "person", "people"], [number("Group"), "Entra group", "Entra groups"],
        [number("ServicePrincipal"), "application", "applications"],
        [others, "holder of unknown kind", "holders of unknown kind"]]
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
        return new Set(state.person === null ? able.map(span => span.p) : able.flatMap(span => span.reach)).size;
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
