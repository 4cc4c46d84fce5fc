// The data of the page: when it was `made`; `since` when the audit has records; `scopes` of the report; `places` where
// assignments were made; `verbs`; `people`; `spans`, each a time in which a person (`p`) had a role through an assignment
// made `at` a place, which reaches some scopes, with the bits of the verbs that it gives (`can`; null: the role could not
// be read; `inOtherRows`: it is there now, and other rows show who has what it gives); and `unseen` and `unseenPast`, sentences about what is out of sight, now and in the past. Days are days in UTC,
// and a day shows what was held at its end.

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
    if (day === null) return span.until === null && !span.inOtherRows;
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
