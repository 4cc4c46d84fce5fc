// Which view is shown. It is kept in the address, behind the #, so that a link opens it again.

const state = { scope: null, person: null, day: null, can: 0, by: "", find: "", unknown: null };

function readAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    const place = (list, id) => id === null ? null : list.findIndex(item => item.id.toLowerCase() === id.toLowerCase());
    const scope = place(scopes, given.get("scope"));
    const person = place(people, given.get("person"));
    state.scope = scope === -1 ? null : scope;
    state.person = state.scope !== null || person === -1 ? null : person;
    const unknown = scope === -1 ? "scope" : person === -1 ? "person" : null;
    state.unknown = unknown === null ? null : `${unknown} ${given.get(unknown)}`;
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
        const plain = encodeURIComponent(value).replace(/%2F/g, "/").replace(/%40/g, "@").replace(/%2C/g, ",");
        parts.push(`${name}=${plain}`);
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
